/* einsum.h -- the equation of an Einsum, shared by shape rule, kernel and gradient. */
#ifndef PAI_COMPILER_EINSUM_H
#define PAI_COMPILER_EINSUM_H

#include "compiler/compiler.h"

enum {
	PAI_EINSUM_LETTERS = 128,
	/* A letter labels a dimension by its code; those behind "..." are PAI_EINSUM_LETTERS +
	 * their number from the right. */
	PAI_EINSUM_LABELS = PAI_EINSUM_LETTERS + PAI_MAX_RANK,
};

typedef struct pai_einsum {            /* an equation, read term by term */
	const char *rest;              /* what has not been read */
	int terms;                     /* read so far */
	int count[PAI_EINSUM_LETTERS]; /* times each letter stood on the left */
	bool has_wide;                 /* "..." stood on the left */
	int wide;                      /* most dimensions that it stood for */
	char term[PAI_MAX_RANK + 4];   /* read last: letters and at most one "..." */
} pai_einsum;

/* All but the first give NULL, or what is wrong with the equation. */
pai_einsum pai_einsum_of(const char *equation);
/* Reads the next term on the left. */
const char *pai_einsum_term(pai_einsum *e);
/* Reads the right side, after all terms. Where there is none it is "...", where the left has it,
 * and then the letters that stand there once, in the order of their codes. */
const char *pai_einsum_result(pai_einsum *e);
/* The same with the labels of the dimensions: to[rank], of an operand of that rank; and to[*rank].
 */
const char *pai_einsum_operand_labels(pai_einsum *e, int rank, int to[PAI_MAX_RANK]);
const char *pai_einsum_result_labels(pai_einsum *e, int *rank, int to[PAI_MAX_RANK]);

bool pai_einsum_is_letter(char c);

#endif
