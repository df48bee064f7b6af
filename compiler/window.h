/* window.h -- the windows of convolutions and pools, shared by shape rules and kernels. */
#ifndef PAI_COMPILER_WINDOW_H
#define PAI_COMPILER_WINDOW_H

#include "compiler/compiler.h"

typedef enum pai_auto_pad {
	PAI_PAD_EXPLICIT, /* as `pads` says */
	PAI_PAD_VALID,    /* none */
	PAI_PAD_SAME_UPPER,
	PAI_PAD_SAME_LOWER,
} pai_auto_pad;

/* What the attributes of a node say, by spatial axis. */
typedef struct pai_window_attrs {
	int rank; /* spatial axes */
	pai_auto_pad pad;
	pai_dim kernel[PAI_MAX_RANK]; /* unknown where nothing tells */
	int64_t stride[PAI_MAX_RANK], dilation[PAI_MAX_RANK];
	int64_t begin[PAI_MAX_RANK], end[PAI_MAX_RANK]; /* 0 unless PAI_PAD_EXPLICIT */
} pai_window_attrs;

/* A list attribute of n integers, each in [low, 2^31); absent: all `otherwise`. */
PAI_MUST_USE pai_status pai_window_list(pai_ctx *ctx, const pai_node *n, const char *name,
					int count, int64_t low, int64_t otherwise, int64_t *out);
/* Reads kernel_shape, strides, dilations, pads, auto_pad. weights: NULL, or the sizes that
 * kernel_shape must have where it is given, and that serve where it is not. */
PAI_MUST_USE pai_status pai_window_read(pai_ctx *ctx, const pai_node *n, int rank,
					const pai_dim *weights, pai_window_attrs *out);
/* Windows along axis i over `image` elements:
 *   floor((image + begin + end - extent) / stride) + 1, ceil with ceil_mode, where a last window
 *   that would start beyond the image and the padding before it is left out;
 *   SAME_*: ceil(image / stride). */
PAI_MUST_USE pai_status pai_window_grid(pai_ctx *ctx, const pai_node *n, const pai_window_attrs *w,
					int i, pai_dim image, bool ceil_mode, pai_dim *out);
/* Elements that `grid` windows along axis i cover, `more` behind them included:
 *   stride * (grid - 1) + extent + more - begin - end;  SAME_*: grid * stride. */
pai_dim pai_window_image(pai_ctx *ctx, const pai_window_attrs *w, int i, pai_dim grid,
			 int64_t more);

#endif
