/* cell_function.h -- the non-linearities of recurrent layers by name. */
#ifndef PAI_CELL_FUNCTION_H
#define PAI_CELL_FUNCTION_H

typedef struct pai_cell_function {
	double (*fn)(double x, double alpha, double beta);
	double alpha, beta;
} pai_cell_function;

typedef struct pai_cell_function_row {
	const char *name;
	int parameters;             /* 1: takes an alpha, 2: a beta as well */
	pai_cell_function function; /* with its defaults */
} pai_cell_function_row;

const pai_cell_function_row *pai_cell_function_find(const char *name); /* NULL: none */

#endif
