/* resize.h -- the parameters of Resize, Upsample and their gradient; shared by resize.c and
 * resize_parameters.c. */
#ifndef PAI_RESIZE_H
#define PAI_RESIZE_H

#include "runtime/kernels/gemm.h"

enum pai_resize_mode { PAI_RESIZE_NEAREST, PAI_RESIZE_LINEAR, PAI_RESIZE_CUBIC };

struct pai_resize;
/* Where output place o of axis k lies in the input. In float, as everywhere else: whether a place
 * lies halfway between two elements depends on the rounding. */
typedef float (*pai_coordinate_fn)(const struct pai_resize *r, int k, float o);
/* The element taken for a coordinate of an axis of that scale. */
typedef double (*pai_nearest_fn)(double x, double scale);

typedef struct pai_resize { /* parameters of a node */
	enum pai_resize_mode mode;
	pai_coordinate_fn coordinate;
	pai_nearest_fn nearest;
	bool crop; /* tf_crop_and_resize */
	double cubic_a, extrapolation;
	bool exclude_outside, antialias;
	int rank;
	int64_t in[PAI_MAX_RANK], out[PAI_MAX_RANK];
	float scale[PAI_MAX_RANK], start[PAI_MAX_RANK], end[PAI_MAX_RANK];
} pai_resize;

/* dims: of the forward input, which the adjoint has as an operand. */
PAI_MUST_USE pai_status pai_resize_read(pai_call *c, int rank, const int64_t *dims, pai_resize *r);

#endif
