/* Reading .net text. parse.c makes a net of it; expand.c walks the lines (param, use, repeat),
 * expression.c replaces what stands in braces, block.c has blocks and their instances, text.c the
 * statements, settings.c what the caller changes, place.c the messages. */
#ifndef FV_NET_READER_H
#define FV_NET_READER_H

#include "net/net.h"

enum {
    FV_MOST_LINE = 4096,                   /* bytes of a line, also with its expressions replaced */
    FV_MOST_BLOCKS = 100,                  /* of a source */
    FV_MOST_PARAMETERS = 32,               /* of a block */
    FV_MOST_DEPTH = 32,                    /* of instances and repeats in one another */
    FV_MOST_USES = 8,                      /* of files that use one another */
    FV_JOINED_SIZE = 2 * FV_NAME_SIZE + 1, /* of a prefix and a name */
    FV_MOST_EXPANDED = 200000 /* lines read in blocks and repeats, comments and `end` too */
};

/* A parameter or the variable of a repeat; the innermost of that name counts. */
typedef struct fv_variable {
    char name[FV_NAME_SIZE];
    char *value;
    struct fv_variable *outer;
} fv_variable;

/* Where a line starts in its source. */
typedef struct fv_cursor {
    size_t next;
    int line_number; /* of the line before */
} fv_cursor;

typedef struct fv_block {
    char name[FV_NAME_SIZE];
    int parameter_count;
    char parameters[FV_MOST_PARAMETERS][FV_NAME_SIZE];
    char *defaults[FV_MOST_PARAMETERS]; /* NULL: it must be given */
    fv_cursor body;
} fv_block;

/* A text that is being read: the one asked for, and those that it uses. They live until all is
 * read, since messages show their lines. */
typedef struct fv_source {
    struct fv_source *user; /* whose `use` names this one; NULL: the one asked for */
    char *name;             /* for messages */
    char *path;             /* NULL: no file */
    char *owned;            /* the text, to be freed; NULL: the caller's */
    const char *text;
    size_t size;
    fv_variable *parameters; /* the last is the first */
    fv_variable *given;      /* by the `use` that names this one */
    fv_block *blocks;
    int block_count;
    bool began; /* a statement other than param was read */
    bool used;  /* a use was */
} fv_source;

/* Where names are looked up: a source, or an instance of a block. */
typedef struct fv_scope {
    const struct fv_scope *outer; /* where it is used; NULL: the source asked for */
    const fv_source *user;        /* the file of that place, and the line */
    int line;
    char prefix[FV_NAME_SIZE + 1]; /* of its layers' names: "layer1.0."; "" of a source */
    fv_variable *variables;
    int blocks; /* so many of the source's at most may be used: those above */
    int inputs[FV_MAX_INPUTS], input_count; /* what `in` is */
    int above;                              /* what a layer without from= reads; -1: nothing */
    int *type_counts;                       /* see fv_default_name */
    int block_counts[FV_MOST_BLOCKS];       /* instances of each of the source's blocks */
} fv_scope;

typedef struct fv_parser {
    fv_source *source;                /* whose lines are being read; users follow */
    fv_source *sources[FV_MOST_USES]; /* all so far */
    int source_count;
    fv_scope *scope;
    int depth;         /* of instances and repeats */
    int expanded;      /* lines read within them */
    const char *shown; /* the line being read, for messages */
    size_t shown_size;
    int line_number;
    char line[FV_MOST_LINE + 1];  /* it with its expressions replaced, where it has any */
    char words[FV_MOST_LINE + 1]; /* it with a 0 after each word that was read */
    const char *const *settings;
    int setting_count;
    bool *setting_used;
    uint64_t train_given; /* of all train statements since the last use */
    fv_net_finder *find;  /* NULL: no other nets may be used */
    fv_net *net;
    int blamed; /* with `complaint`: the node whose line it is about */
    const char *complaint;
} fv_parser;

/* ---- place.c ----------------------------------------------------------------------------------
 */

/* Of a failed status: puts "file:line:column: " before this thread's message; behind it the line
 * with a caret below, and where the block or file that holds the line is used. `at` points into
 * p->words. Returns the status. */
fv_status fv_place(const fv_parser *p, const char *at, fv_status status);

/* ---- expression.c -----------------------------------------------------------------------------
 */

/* The line with its {expressions} replaced, into result[FV_MOST_LINE + 1]. On failure *at is where
 * in `line`. */
fv_status fv_replace_expressions(const char *line, const fv_variable *variables, char *result,
                                 const char **at);
/* A letter or "_", then those and digits, at most 63: what a parameter may be called. */
bool fv_is_identifier(const char *name);
/* A whole number in decimal, and nothing else. */
bool fv_read_integer(const char *text, int64_t *value);

/* ---- expand.c ---------------------------------------------------------------------------------
 */

void fv_free_source(fv_source *source);
/* Reads all statements of p->source into p->net. */
fv_status fv_read_source(fv_parser *p);
/* FV_INVALID: this statement may not follow a use line. */
fv_status fv_fail_used(void);
/* Reads the lines from `body` to the `end` that closes them. */
fv_status fv_read_body(fv_parser *p, fv_cursor body);
/* Moves *at, behind the opening line at `opening`, behind the `end` that closes it. `what` it is:
 * "block" or "repeat". */
fv_status fv_skip_body(fv_parser *p, fv_cursor opening, fv_cursor *at, const char *what);

/* ---- block.c ----------------------------------------------------------------------------------
 */

/* A block statement, of which `word` is the first word; the line stands at `here`. */
fv_status fv_read_block(fv_parser *p, const char *word, char *cursor, fv_cursor here,
                        fv_cursor *at);
/* The block that may be used here by that name; -1: none. */
int fv_find_block(const fv_parser *p, const char *name);
/* [name:] block values: the layers of the block. */
fv_status fv_read_instance(fv_parser *p, int block, const char *given_name, const char *word,
                           char *cursor);
/* The node that the name means here: of the block's own, else of those outside; -1: none. */
int fv_find_layer(const fv_parser *p, const char *name);
/* "a,b,in": the nodes into inputs[FV_MAX_INPUTS]. */
fv_status fv_read_inputs(const fv_parser *p, const char *value, int *inputs, int *count);
/* The name in full, of a layer in that scope; one that is too long for a name stays too long. */
void fv_join_name(const fv_scope *scope, const char *name, char joined[FV_JOINED_SIZE]);
fv_status fv_fail_no_layer(const fv_parser *p, const char *name, const char *where);
/* Frees what a source holds of blocks. */
void fv_free_blocks(fv_source *source);

/* ---- text.c -----------------------------------------------------------------------------------
 */

typedef struct fv_statement {
    const fv_layer_type *type; /* NULL: train, loss, metric */
    const char *what;          /* the type's name, or "train" */
    const fv_param *params;
    void *options;
    uint64_t given;       /* bit i: params[i] has a value */
    fv_tuning tuning;     /* layers only */
    uint64_t tuned;       /* bit i: fv_tuning_params[i] has a value */
    const char *tuned_at; /* its first word; NULL: none */
    bool keyed;           /* a key=value was read, so that no bare value may follow */
    bool from;            /* its inputs were named */
    int inputs[FV_MAX_INPUTS], input_count;
} fv_statement;

/* The statement in p->words. */
fv_status fv_read_statement(fv_parser *p);
/* The next word after *cursor, ended with a 0; NULL at the end of the line. */
char *fv_next_word(char **cursor);
/* Whether a layer or instance may have this name. `given`: as written, not made of type and
 * ordinal. */
fv_status fv_check_name(const fv_parser *p, const char *name, bool given);
fv_status fv_fail_unknown_key(const fv_statement *s, const char *key);

/* ---- settings.c -------------------------------------------------------------------------------
 */

/* Whether all are of the form LAYER.KEY=VALUE or PARAMETER=VALUE. */
fv_status fv_check_settings(const fv_parser *p);
/* Those for `layer` (or "train") into the statement; later ones replace earlier ones. */
fv_status fv_apply_settings(fv_parser *p, fv_statement *s, const char *layer);
/* The value set for a parameter, by no source yet; NULL: none. */
const char *fv_parameter_setting(fv_parser *p, const char *name);
/* Whether every setting found what it is about. */
fv_status fv_check_settings_used(const fv_parser *p);

#endif
