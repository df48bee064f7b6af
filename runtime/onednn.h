/* onednn.h -- what the plan asks of oneDNN; private to the runtime.
 *
 * An operation is a primitive with its memory objects and arguments made beforehand; the step sets
 * the addresses that have moved and executes. Activations are plain or channels-last as the caller
 * says; weights and weight gradients are in whatever format the primitive likes best, so they pass
 * through a reorder. An implementation that calls itself a reference is never taken: the result is
 * then NULL, and own code serves.
 */
#ifndef PAI_ONEDNN_H
#define PAI_ONEDNN_H

#include "runtime/plan.h"

typedef enum pai_dnn_arg {
	PAI_DNN_SRC, /* of the backward kinds: what takes that place, diff_src or diff_dst */
	PAI_DNN_WEIGHTS,
	PAI_DNN_BIAS,
	PAI_DNN_DST,
	PAI_DNN_SCRATCH,
	PAI_DNN_ARGS
} pai_dnn_arg;

typedef enum pai_dnn_kind {
	PAI_DNN_FORWARD,
	PAI_DNN_BACKWARD_DATA,
	PAI_DNN_BACKWARD_WEIGHTS
} pai_dnn_kind;

typedef struct pai_dnn_conv { /* a convolution over n_space axes, and its gradients */
	pai_dnn_kind kind;
	int n_space;
	int64_t batch, groups, in_channels, out_channels; /* channels of all groups */
	int64_t in[3], out[3], kernel[3], stride[3], dilation[3], pad_begin[3], pad_end[3];
	bool bias;
	bool relu; /* forward */
} pai_dnn_conv;

typedef struct pai_dnn_matrix { /* a [batch, rows, cols] view; strides in elements */
	int64_t rows, cols, batch_stride, row_stride,
		col_stride; /* batch_stride 0: the same for all */
} pai_dnn_matrix;

typedef struct pai_dnn_op pai_dnn_op;

PAI_MUST_USE pai_status pai_dnn_conv_new(pai_plan *p, const pai_dnn_conv *d, pai_dnn_op **out);
/* dst = src x weights (+ bias over columns) (then relu). */
PAI_MUST_USE pai_status pai_dnn_matmul_new(pai_plan *p, int64_t batch, const pai_dnn_matrix *src,
					   const pai_dnn_matrix *weights, const pai_dnn_matrix *dst,
					   bool bias, bool relu, pai_dnn_op **out);
/* Copies plain weights [O, I/g, k...] to the format `of` wants, or (back) the gradient from it to
 * plain; NULL where that is the plain one. */
PAI_MUST_USE pai_status pai_dnn_weights_new(pai_plan *p, const pai_dnn_op *of, bool back,
					    pai_dnn_op **out);
size_t pai_dnn_bytes(const pai_dnn_op *op, pai_dnn_arg a); /* 0: it has no such argument */
const char *pai_dnn_impl(const pai_dnn_op *op);
/* The tensor whose address is used for the argument; must live as long as the plan. */
void pai_dnn_bind(pai_dnn_op *op, pai_dnn_arg a, const pai_tensor *t);
pai_status pai_dnn_run(void *op, pai_run *run); /* a step */

#endif
