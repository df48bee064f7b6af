/* window.h -- where the windows of convolutions and pools lie, shared by their kernels. */
#ifndef PAI_WINDOW_H
#define PAI_WINDOW_H

#include "runtime/kernels/gemm.h"

/* Window o of an axis covers the elements o * stride + k * dilation - begin, k < kernel. `image` is
 * the side the windows lie over: input of Conv and the pools, output of ConvTranspose; `grid` is
 * the side with one element a window. */
typedef struct pai_window {
	int rank; /* spatial axes */
	int64_t image[PAI_MAX_RANK], grid[PAI_MAX_RANK], kernel[PAI_MAX_RANK];
	int64_t stride[PAI_MAX_RANK], dilation[PAI_MAX_RANK];
	int64_t begin[PAI_MAX_RANK], end[PAI_MAX_RANK]; /* pads */
	int64_t image_size, grid_size, kernel_size;     /* products */
} pai_window;

/* Reads kernel_shape, strides, dilations, pads, auto_pad, ceil_mode of a node over an image and
 * computes the grid. kernel: NULL, or what kernel_shape must be where it is given. */
PAI_MUST_USE pai_status pai_window_over(pai_call *c, int rank, const int64_t *image,
					const int64_t *kernel, pai_window *out);
/* The same for ConvTranspose: grid given, image computed; reads output_padding, output_shape. */
PAI_MUST_USE pai_status pai_window_under(pai_call *c, int rank, const int64_t *grid,
					 const int64_t *kernel, pai_window *out);

/* A convolution. Weights are [filters, channels / groups, kernel...]. */
typedef struct pai_conv {
	pai_window w;
	int64_t batch, channels, filters, groups; /* channels of the image, of the grid */
	pai_dtype dtype;                          /* FLOAT or DOUBLE */
	void *scratch;                            /* from pai_conv_prepare */
	int64_t chunk;                            /* grid elements taken at once */
} pai_conv;

PAI_MUST_USE pai_status pai_conv_prepare(pai_call *c, pai_conv *v);
/* grid = weights * windows of image */
void pai_conv_forward(const pai_conv *v, const void *image, const void *weights, void *grid);
/* image = sum of grid * weights over the windows an element is in */
void pai_conv_image(const pai_conv *v, const void *grid, const void *weights, void *image);
/* weights = sum of grid * windows of image */
void pai_conv_weights(const pai_conv *v, const void *grid, const void *image, void *weights);

#endif
