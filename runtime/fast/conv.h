/* conv.h -- convolutions between their builders (conv.c) and the two ways to compute them: oneDNN
 * (conv_dnn.c) and our own product (conv_own.c). Private to runtime/fast.
 */
#ifndef PAI_FAST_CONV_H
#define PAI_FAST_CONV_H

#include "runtime/fast/fast.h"
#include "runtime/onednn.h"

/* A convolution to be emitted. The image is the side its windows lie over, the grid the side with
 * one element a window; which of image, weights and grid is written is a matter of d.kind, and the
 * bias is written with the weights. */
typedef struct pai_conv_task {
	pai_dnn_conv d;
	const pai_unit *unit;
	const char *name; /* of the step */
	pai_slot *image, *weights, *bias /* NULL: none */, *grid;
} pai_conv_task;

double pai_conv_work(const pai_dnn_conv *d); /* multiply-adds */
/* What the step reads (room for 4) and what it writes (room for 4). */
void pai_conv_operands(const pai_conv_task *t, pai_slot **in, int *n_in, pai_slot **out,
		       int *n_out);
pai_step_info pai_conv_info(const pai_conv_task *t, const char *impl);

/* conv_dnn.c: by a primitive from pai_dnn_conv_new; plain weights go through a reorder. */
PAI_MUST_USE pai_status pai_conv_emit_dnn(pai_plan *p, const pai_conv_task *t, pai_dnn_op *op);

/* conv_own.c */
bool pai_conv_own_can(const pai_dnn_conv *d);
PAI_MUST_USE pai_status pai_conv_emit_own(pai_plan *p, const pai_conv_task *t);

#endif
