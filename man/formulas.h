/* A line for each word that the library knows, for fovea.net(5). Called by generate.c. */
#ifndef FV_MAN_FORMULAS_H
#define FV_MAN_FORMULAS_H

typedef struct word_line {
    const char *word, *text;
} word_line;

/* Each ended by a NULL word. */
extern const word_line activation_formulas[], initialiser_formulas[], padding_formulas[],
    loss_formulas[], metric_formulas[];

#endif
