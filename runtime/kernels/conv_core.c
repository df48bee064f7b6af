/* conv_core.c -- convolution as a matrix product over unrolled windows, and its two adjoints.
 *
 * For one image and group, the windows of a run of grid elements become the columns of a matrix
 * [channels * kernel, run]; then
 *     grid    = weights * columns                 (forward)
 *     columns = weights^T * grid, added into place (image)
 *     weights += grid * columns^T                 (weights)
 * The run is a number of whole lines of the last grid axis, so that the matrix stays in the cache.
 */
#include "runtime/kernels/window.h"
#include <string.h>

enum { COLUMN_BYTES = 1 << 20 }; /* aim for the matrix of windows */

typedef struct run { /* the windows taken at once: lines [from, to) of the grid's last axis */
	const pai_conv *v;
	int64_t line, lines, width; /* width: elements of a line */
} run;

static int64_t group_channels(const pai_conv *v)
{
	return v->channels / v->groups;
}

static int64_t column_rows(const pai_conv *v)
{
	return group_channels(v) * v->w.kernel_size;
}

static size_t bytes(const pai_conv *v, int64_t n)
{
	return (size_t)n * pai_wide_size(v->dtype);
}

/* Index of a line along the grid's outer axes. */
static void line_index(const pai_window *w, int64_t line, int64_t *index)
{
	for (int i = w->rank - 2; i >= 0; i--) {
		index[i] = line % w->grid[i];
		line /= w->grid[i];
	}
}

/* Offset of the image line that a grid line sees through kernel element k; -1: it is padding. */
static int64_t image_line(const pai_window *w, const int64_t *grid, const int64_t *k)
{
	int64_t offset = 0;
	for (int i = 0; i + 1 < w->rank; i++) {
		int64_t at = grid[i] * w->stride[i] + k[i] * w->dilation[i] - w->begin[i];
		if (at < 0 || at >= w->image[i])
			return -1;
		offset = offset * w->image[i] + at;
	}
	return offset * w->image[w->rank - 1];
}

/* Grid elements [*from, *to) of a line whose image element at `shift + o * stride` exists. */
static void valid_part(int64_t shift, int64_t stride, int64_t image, int64_t width, int64_t *from,
		       int64_t *to)
{
	*from = shift < 0 ? (-shift + stride - 1) / stride : 0;
	*to = shift >= image ? 0 : (image - 1 - shift) / stride + 1;
	*to = *to < width ? *to : width;
	*from = *from < *to ? *from : *to;
}

#define COLUMNS(T)                                                                                 \
	static void take_##T(T *to, const T *image, int64_t shift, int64_t stride, int64_t size,   \
			     int64_t width)                                                        \
	{                                                                                          \
		int64_t from, end;                                                                 \
		valid_part(shift, stride, size, width, &from, &end);                               \
		for (int64_t o = 0; o < from; o++)                                                 \
			to[o] = 0;                                                                 \
		if (stride == 1 && from < end)                                                     \
			memcpy(to + from, image + shift + from, (size_t)(end - from) * sizeof(T)); \
		else                                                                               \
			for (int64_t o = from; o < end; o++)                                       \
				to[o] = image[shift + o * stride];                                 \
		for (int64_t o = end; o < width; o++)                                              \
			to[o] = 0;                                                                 \
	}                                                                                          \
                                                                                                   \
	static void add_##T(const T *from, T *image, int64_t shift, int64_t stride, int64_t size,  \
			    int64_t width)                                                         \
	{                                                                                          \
		int64_t o, end;                                                                    \
		valid_part(shift, stride, size, width, &o, &end);                                  \
		for (; o < end; o++)                                                               \
			image[shift + o * stride] += from[o];                                      \
	}

COLUMNS(float)
COLUMNS(double)

/* One row of the matrix of windows: channel and kernel element fixed. */
static void row_of_columns(const run *r, const int64_t *k, void *row, void *channel, bool add)
{
	const pai_window *w = &r->v->w;
	int last = w->rank - 1;
	int64_t shift = k[last] * w->dilation[last] - w->begin[last], grid[PAI_MAX_RANK];
	for (int64_t i = 0; i < r->lines; i++) {
		line_index(w, r->line + i, grid);
		int64_t offset = image_line(w, grid, k);
		char *to = (char *)row + bytes(r->v, i * r->width);
		char *image = offset < 0 ? NULL : (char *)channel + bytes(r->v, offset);
		if (!add && !image)
			memset(to, 0, bytes(r->v, r->width));
		else if (!add && r->v->dtype == PAI_FLOAT)
			take_float((float *)to, (float *)image, shift, w->stride[last],
				   w->image[last], r->width);
		else if (!add)
			take_double((double *)to, (double *)image, shift, w->stride[last],
				    w->image[last], r->width);
		else if (image && r->v->dtype == PAI_FLOAT)
			add_float((float *)to, (float *)image, shift, w->stride[last],
				  w->image[last], r->width);
		else if (image)
			add_double((double *)to, (double *)image, shift, w->stride[last],
				   w->image[last], r->width);
	}
}

/* Fills the matrix from the image, or adds it into the image. */
static void columns(const run *r, void *matrix, void *image, bool add)
{
	const pai_window *w = &r->v->w;
	char *row = matrix;
	for (int64_t ch = 0; ch < group_channels(r->v); ch++) {
		int64_t k[PAI_MAX_RANK] = {0};
		void *channel = (char *)image + bytes(r->v, ch * w->image_size);
		for (int64_t i = 0; i < w->kernel_size; i++) {
			row_of_columns(r, k, row, channel, add);
			row += bytes(r->v, r->lines * r->width);
			for (int d = w->rank - 1; d >= 0 && ++k[d] == w->kernel[d]; d--)
				k[d] = 0;
		}
	}
}

pai_status pai_conv_prepare(pai_call *c, pai_conv *v)
{
	size_t row = pai_wide_size(v->dtype), gemm, matrix, run_size = 0;
	int64_t width = v->w.grid[v->w.rank - 1], filters = v->filters / v->groups;
	int64_t lines = width ? v->w.grid_size / width : 0;
	bool fits = pai_size_mul(row, (size_t)column_rows(v), &row);
	fits = fits && pai_size_mul(row, (size_t)(width ? width : 1), &run_size);
	v->chunk = run_size && COLUMN_BYTES / run_size > 1 ? (int64_t)(COLUMN_BYTES / run_size) : 1;
	v->chunk = v->chunk < lines ? v->chunk : lines > 0 ? lines : 1;
	fits = fits && pai_size_mul(run_size, (size_t)v->chunk, &matrix);
	/* the products pack filters x rows, rows x filters or filters x run */
	int64_t rows = column_rows(v), longest = rows > v->chunk * width ? rows : v->chunk * width;
	fits = fits && pai_gemm_scratch(v->dtype, filters, longest, &gemm);
	size_t other;
	fits = fits && pai_gemm_scratch(v->dtype, rows, filters, &other) &&
	       pai_size_add(matrix, gemm > other ? gemm : other, &matrix);
	return pai_call_room(c, 1, fits ? matrix : SIZE_MAX, &v->scratch);
}

/* What a product is done for: image n, group g, and lines of the grid. */
typedef struct piece {
	run r;
	int64_t image, grid, weights; /* offsets of its part in each */
	void *matrix, *gemm;
} piece;

static piece piece_at(const pai_conv *v, int64_t n, int64_t g, int64_t line)
{
	const pai_window *w = &v->w;
	int64_t width = w->grid[w->rank - 1], lines = width ? w->grid_size / width : 0;
	int64_t count = lines - line < v->chunk ? lines - line : v->chunk;
	return (piece){
		.r = {v, line, count, width},
		.image = (n * v->channels + g * group_channels(v)) * w->image_size,
		.grid = (n * v->filters + g * (v->filters / v->groups)) * w->grid_size +
			line * width,
		.weights = g * (v->filters / v->groups) * column_rows(v),
		.matrix = v->scratch,
		.gemm = (char *)v->scratch + bytes(v, column_rows(v) * v->chunk * width),
	};
}

/* Calls fn for every piece, in a fixed order. */
static void each_piece(const pai_conv *v,
		       void (*fn)(const piece *p, const char *a, const char *b, char *out),
		       const void *a, const void *b, void *out)
{
	const pai_window *w = &v->w;
	int64_t width = w->grid[w->rank - 1], lines = width ? w->grid_size / width : 0;
	for (int64_t n = 0; n < v->batch; n++)
		for (int64_t g = 0; g < v->groups; g++)
			for (int64_t line = 0; line < lines; line += v->chunk) {
				piece p = piece_at(v, n, g, line);
				fn(&p, a, b, out);
			}
}

static void forward(const piece *p, const char *image, const char *weights, char *grid)
{
	const pai_conv *v = p->r.v;
	int64_t run_size = p->r.lines * p->r.width, rows = column_rows(v);
	columns(&p->r, p->matrix, (char *)image + bytes(v, p->image), false);
	pai_gemm(v->dtype, v->filters / v->groups, run_size, rows,
		 (pai_matrix){weights + bytes(v, p->weights), rows, 1},
		 (pai_matrix){p->matrix, run_size, 1}, grid + bytes(v, p->grid), v->w.grid_size,
		 false, p->gemm);
}

void pai_conv_forward(const pai_conv *v, const void *image, const void *weights, void *grid)
{
	each_piece(v, forward, image, weights, grid);
}

static void to_image(const piece *p, const char *grid, const char *weights, char *image)
{
	const pai_conv *v = p->r.v;
	int64_t run_size = p->r.lines * p->r.width, rows = column_rows(v);
	pai_gemm(v->dtype, rows, run_size, v->filters / v->groups,
		 (pai_matrix){weights + bytes(v, p->weights), 1, rows},
		 (pai_matrix){grid + bytes(v, p->grid), v->w.grid_size, 1}, p->matrix, run_size,
		 false, p->gemm);
	columns(&p->r, p->matrix, image + bytes(v, p->image), true);
}

void pai_conv_image(const pai_conv *v, const void *grid, const void *weights, void *image)
{
	memset(image, 0, bytes(v, v->batch * v->channels * v->w.image_size));
	each_piece(v, to_image, grid, weights, image);
}

static void to_weights(const piece *p, const char *grid, const char *image, char *weights)
{
	const pai_conv *v = p->r.v;
	int64_t run_size = p->r.lines * p->r.width, rows = column_rows(v);
	columns(&p->r, p->matrix, (char *)image + bytes(v, p->image), false);
	pai_gemm(v->dtype, v->filters / v->groups, rows, run_size,
		 (pai_matrix){grid + bytes(v, p->grid), v->w.grid_size, 1},
		 (pai_matrix){p->matrix, 1, run_size}, weights + bytes(v, p->weights), rows, true,
		 p->gemm);
}

void pai_conv_weights(const pai_conv *v, const void *grid, const void *image, void *weights)
{
	memset(weights, 0, bytes(v, v->filters * column_rows(v)));
	each_piece(v, to_weights, grid, image, weights);
}
