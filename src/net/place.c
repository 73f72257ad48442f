/* Messages about a .net text: file, line and column, the line with a caret below, and where the
 * block or file that holds the line is used. Called by all that read such texts. */
#include "net/reader.h"
#include <stdio.h>
#include <string.h>

enum { USERS_SIZE = 700 }; /* four of at most 150 bytes */

static bool continues_character(char byte) { /* of UTF-8 */
    return ((unsigned char)byte & 0xC0) == 0x80;
}

static bool is_control(char byte) {
    return ((unsigned char)byte < 0x20 && byte != '\t') || byte == 0x7F;
}

/* Some 100 bytes of the line around `column`, and below it the blanks that lead to the caret. */
static void cut_excerpt(const fv_parser *p, size_t column, char excerpt[128], char caret[128]) {
    const char *line = p->shown;
    size_t begin = 0, end = p->shown_size, used = 0, blanks = 0;
    if (p->shown_size > 100) {
        begin = column > 60 ? column - 60 : 0;
        end = begin + 100 < end ? begin + 100 : end;
        while (begin < column && continues_character(line[begin])) {
            begin++;
        }
        while (end > column && end < p->shown_size && continues_character(line[end])) {
            end--;
        }
    }
    for (int i = 0; begin > 0 && i < 3; i++) {
        excerpt[used++] = '.';
        caret[blanks++] = ' ';
    }
    for (size_t i = begin; i < end; i++) {
        excerpt[used++] = is_control(line[i]) ? '?' : line[i];
        if (i < column && !continues_character(line[i])) {
            caret[blanks++] = line[i] == '\t' ? '\t' : ' ';
        }
    }
    excerpt[used] = 0;
    caret[blanks] = 0;
}

/* The end of a long path, which is what tells files apart. */
static const char *tail(const char *name, size_t most) {
    size_t length = strlen(name);
    return length > most ? name + length - most : name;
}

/* "\nin layer1.0 (a.net:40)" for each instance and use around the line, innermost first. In a
 * buffer: a text could fail, and put its own message in place of the one that is placed. */
static void add_users(const fv_parser *p, char users[USERS_SIZE]) {
    enum { MOST = 4 };
    int count = 0;
    size_t used = 0;
    users[0] = 0;
    for (const fv_scope *s = p->scope; s && s->outer && count <= MOST; s = s->outer, count++) {
        const char *file = tail(s->user->name, 60);
        char *end = users + used;
        size_t rest = USERS_SIZE - used;
        int prefix = (int)strlen(s->prefix);
        used += (size_t)(count == MOST ? snprintf(end, rest, "\n...")
                         : prefix > 0  ? snprintf(end, rest, "\nin %.*s (%s:%d)", prefix - 1,
                                                  s->prefix, file, s->line)
                                       : snprintf(end, rest, "\nused by %s:%d", file, s->line));
    }
}

fv_status fv_place(const fv_parser *p, const char *at, fv_status status) {
    if (status == FV_OK || status == FV_MEMORY) {
        return status;
    }
    size_t column = (size_t)(at - p->words);
    char excerpt[128], caret[128], users[USERS_SIZE];
    cut_excerpt(p, column, excerpt, caret);
    add_users(p, users);
    return fv_fail(status, "%s:%d:%zu: %.440s\n%s\n%s^%s", tail(p->source->name, 300),
                   p->line_number, column + 1, fv_error_message(), excerpt, caret, users);
}
