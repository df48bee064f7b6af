/* grad.h -- what gradient rules share. New constants live in the model's arena. */
#ifndef PAI_GRAD_H
#define PAI_GRAD_H

#include "runtime/runtime.h"

/* The sizes of v as an integer tensor: a constant where they are known, else Shape(v). */
pai_value *pai_grad_shape(pai_grad *g, const pai_node *n, pai_value *v);
/* dy, which has the shape of `whole`, summed over what broadcasting repeated, to the shape of
 * `like`; dy itself where the two are known to be the same. whole NULL: not known. */
pai_value *pai_grad_sum_to(pai_grad *g, const pai_node *n, pai_value *dy, const pai_value *whole,
			   pai_value *like);
/* Constants. */
pai_value *pai_grad_ints(pai_grad *g, const pai_node *n, int count, const int64_t *v);
pai_value *pai_grad_scalar(pai_grad *g, const pai_node *n, pai_dtype dtype, double v);
/* Zeros of the type and shape of `like`. */
pai_value *pai_grad_zeros(pai_grad *g, const pai_node *n, pai_value *like);
/* A node of pai.internal with one output. */
pai_value *pai_grad_internal(pai_grad *g, const char *op_type, int n_in, pai_value *const *in,
			     const pai_node *attrs_from);
/* An error where something flows into an output after the first. */
PAI_MUST_USE pai_status pai_grad_first_only(const pai_node *n, pai_value *const *dy);
/* The rank of v, or an error where it is not known. */
PAI_MUST_USE pai_status pai_grad_rank(pai_grad *g, const pai_node *n, const pai_value *v, int *out);

#endif
