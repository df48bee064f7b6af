/* grid_sample.c -- GridSample over any number of spatial axes, and AffineGrid, which makes such
 * grids. A grid holds for each element of the result where the image is read, in [-1, 1] along each
 * axis, the last axis first. */
#include "runtime/kernels/grad.h"
#include "runtime/kernels/lanes.h"
#include "runtime/kernels/move.h"
#include <math.h>
#include <string.h>

enum { TAPS = 4 };

typedef enum mode { NEAREST, LINEAR, CUBIC } mode;
typedef enum padding { ZEROS, BORDER, REFLECTION } padding;

typedef struct taps { /* along one axis: elements and their weights; index -1: padding of 0 */
	int n;
	int64_t index[TAPS];
	double weight[TAPS];
} taps;

typedef struct sampling {
	mode mode;
	padding padding;
	bool corners; /* -1 and 1 are the centres of the outermost elements, else their edges */
	int rank;     /* spatial axes */
	int64_t image[PAI_MAX_RANK], image_size;
} sampling;

typedef struct choice { /* a word of an attribute */
	const char *name;
	int value;
} choice;

/* Version 16 says bilinear and bicubic. */
static const choice modes[] = {{"nearest", NEAREST}, {"linear", LINEAR}, {"bilinear", LINEAR},
			       {"cubic", CUBIC},     {"bicubic", CUBIC}, {NULL}};
static const choice paddings[] = {
	{"zeros", ZEROS}, {"border", BORDER}, {"reflection", REFLECTION}, {NULL}};

PAI_MUST_USE static pai_status choose(pai_call *c, const char *attr, const char *otherwise,
				      const choice *rows, int *out)
{
	const char *given = pai_node_string(c->node, attr, otherwise);
	const choice *found = pai_table_find(PAI_TABLE(rows), given);
	if (!found)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_attr(c->node, attr), "is \"%s\"",
				pai_escape(c->node->graph->model->arena, given));
	*out = found->value;
	return PAI_OK;
}

static pai_status read_node(pai_call *c, sampling *s)
{
	const pai_tensor *x = c->in[0], *grid = c->in[1];
	int taken, padded;
	PAI_TRY(choose(c, "mode", "linear", modes, &taken));
	PAI_TRY(choose(c, "padding_mode", "zeros", paddings, &padded));
	*s = (sampling){.mode = (mode)taken, .padding = (padding)padded, .image_size = 1};
	s->corners = pai_node_int(c->node, "align_corners", 0) != 0;
	s->rank = x->rank - 2;
	if (x->rank < 3 || grid->rank != x->rank || grid->dims[0] != x->dims[0] ||
	    grid->dims[grid->rank - 1] != s->rank || pai_lane_of(x->dtype) == PAI_LANE_NONE ||
	    pai_lane_of(grid->dtype) == PAI_LANE_NONE)
		return pai_fail(c->ctx, PAI_E_runtime_shape, pai_at_input(c->node, 1),
				"does not have one position in the image for each element of the "
				"result");
	for (int i = 0; i < s->rank; i++) {
		s->image[i] = x->dims[2 + i];
		s->image_size *= s->image[i];
	}
	return PAI_OK;
}

/* Mirrored at low and high until it lies between them. */
static double reflect(double x, double low, double high)
{
	double range = high - low, over = x < low ? low - x : x > high ? x - high : 0;
	if (over == 0 || !(range > 0))
		return over == 0 ? x : low;
	double times = floor(over / range), rest = over - times * range;
	bool from_low = (x < low) == (fmod(times, 2) == 0);
	return from_low ? low + rest : high - rest;
}

/* The element at an index; -1: it is 0. */
static int64_t element_at(const sampling *s, double i, int64_t size)
{
	double low = s->corners ? 0 : -0.5, high = (double)size - (s->corners ? 1 : 0.5);
	if (s->padding == REFLECTION)
		i = trunc(reflect(i, low, high));
	if (s->padding != ZEROS)
		i = i < 0 ? 0 : i > (double)(size - 1) ? (double)(size - 1) : i;
	return i >= 0 && i < (double)size ? (int64_t)i : -1;
}

static void cubic_weights(double x, double *w)
{
	const double a = -0.75;
	const double d[TAPS] = {1 + x, x, 1 - x, 2 - x};
	for (int k = 0; k < TAPS; k++)
		w[k] = k == 0 || k == 3 ? ((a * d[k] - 5 * a) * d[k] + 8 * a) * d[k] - 4 * a
					: ((a + 2) * d[k] - (a + 3)) * d[k] * d[k] + 1;
}

/* Where position v of [-1, 1] reads along an axis. */
static taps taps_of(const sampling *s, double v, int64_t size)
{
	const double n = (double)size, low = s->corners ? 0 : -0.5;
	const double high = n - (s->corners ? 1 : 0.5);
	double x = s->corners ? (v + 1) / 2 * (n - 1) : ((v + 1) * n - 1) / 2;
	taps t = {.n = s->mode == NEAREST ? 1 : s->mode == LINEAR ? 2 : TAPS};
	if (s->mode == NEAREST)
		x = rint(x);
	if (x < low || x > high) {
		if (s->padding == BORDER && s->mode != CUBIC) /* whose taps are cut one by one */
			x = x < 0 ? 0 : n - 1;
		else if (s->padding == REFLECTION)
			x = reflect(x, low, high);
	}
	x = isnan(x) || fabs(x) > 0x1p52 ? -0x1p52 : x; /* far outside: nothing there */
	double first = s->mode == NEAREST ? x : floor(x), part = x - first;
	if (s->mode == CUBIC)
		cubic_weights(part, t.weight);
	else {
		t.weight[0] = 1 - part;
		t.weight[1] = part;
	}
	for (int k = 0; k < t.n; k++)
		t.index[k] = element_at(s, first + k - (s->mode == CUBIC), size);
	return t;
}

/* The weighted elements under all taps; offsets in [taps^rank] order. */
static double sample(const sampling *s, const taps *t, const double *image)
{
	int k[PAI_MAX_RANK] = {0};
	double sum = 0;
	for (;;) {
		int64_t at = 0;
		double w = 1;
		for (int d = 0; d < s->rank; d++) {
			int64_t i = t[d].index[k[d]];
			at = i < 0 || at < 0 ? -1 : at * s->image[d] + i;
			w *= t[d].weight[k[d]];
		}
		sum += at < 0 ? 0 : w * image[at];
		int d = s->rank - 1;
		while (d >= 0 && ++k[d] == t[d].n)
			k[d--] = 0;
		if (d < 0)
			return sum;
	}
}

static pai_status grid_sample(pai_call *c)
{
	const pai_tensor *x = c->in[0], *grid = c->in[1];
	sampling s;
	int64_t dims[PAI_MAX_RANK], points = 1;
	PAI_TRY(read_node(c, &s));
	for (int i = 0; i < x->rank; i++) {
		dims[i] = i < 2 ? x->dims[i] : grid->dims[i - 1];
		points *= i < 2 ? 1 : dims[i];
	}
	PAI_TRY(pai_call_output(c, 0, x->dtype, x->rank, dims));
	const double *image = pai_lane_view(c, PAI_LANE_F64, x);
	const double *at = pai_lane_view(c, PAI_LANE_F64, grid);
	double *y = pai_lane_begin(c, PAI_LANE_F64, c->out[0]);
	if (!image || !at || !y)
		return pai_call_nomem(c);
	for (int64_t i = 0; s.image_size && i < dims[0] * points; i++) {
		taps t[PAI_MAX_RANK];
		int64_t batch = i / points, point = i % points;
		for (int d = 0; d < s.rank; d++)
			t[d] = taps_of(&s, at[i * s.rank + s.rank - 1 - d], s.image[d]);
		for (int64_t ch = 0; ch < dims[1]; ch++) {
			int64_t plane = batch * dims[1] + ch;
			y[plane * points + point] = sample(&s, t, image + plane * s.image_size);
		}
	}
	for (int64_t i = 0; !s.image_size && i < pai_tensor_nelem(c->out[0]); i++)
		y[i] = 0;
	pai_lane_finish(PAI_LANE_F64, y, c->out[0]);
	return PAI_OK;
}

/* Elements read for each of the result, of which one axis takes up to four. */
static double grid_sample_work(const pai_node *n, const pai_tensor *const *in,
			       const pai_tensor *const *out)
{
	const char *m = pai_node_string(n, "mode", "linear");
	double taps_of_axis = strstr(m, "cubic") ? 4 : strstr(m, "linear") ? 2 : 1;
	int rank = in[0] && in[0]->rank > 2 ? in[0]->rank - 2 : 0;
	return pai_elements(out[0]) * (rank + 1) * pow(taps_of_axis, rank) +
	       20 * pai_elements(in[1]);
}

const pai_kernel pai_kernel_grid_sample = {.run = grid_sample, .work = grid_sample_work};

/* ---- AffineGrid ---- */

/* theta [N, k, k + 1], sizes [N, C, d1 .. dk] -> grid [N, d1 .. dk, k]: the product of theta with
 * each position, its last axis first, and 1 */
static pai_status affine_grid(pai_call *c)
{
	const pai_tensor *theta = c->in[0];
	const bool corners = pai_node_int(c->node, "align_corners", 0) != 0;
	pai_int_list size;
	int64_t dims[PAI_MAX_RANK], points = 1;
	PAI_TRY(pai_call_ints(c, "size", 1, &size));
	const int k = size.n - 2;
	if (size.n < 3 || size.n > PAI_MAX_RANK || theta->rank != 3 || theta->dims[1] != k ||
	    theta->dims[2] != k + 1 || theta->dims[0] != size.at[0] ||
	    pai_lane_of(theta->dtype) == PAI_LANE_NONE)
		return pai_fail(c->ctx, PAI_E_runtime_shape, pai_at_input(c->node, 0),
				"is not [N, k, k + 1] for a size of N, C and k axes");
	dims[0] = size.at[0];
	dims[size.n - 1] = k;
	for (int i = 0; i < k; i++) {
		dims[1 + i] = size.at[2 + i];
		if (dims[1 + i] < 0 || __builtin_mul_overflow(points, dims[1 + i], &points))
			return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, 1),
					"has a bad element %d", 2 + i);
	}
	PAI_TRY(pai_call_output(c, 0, theta->dtype, size.n, dims));
	const double *m = pai_lane_view(c, PAI_LANE_F64, theta);
	double *y = pai_lane_begin(c, PAI_LANE_F64, c->out[0]);
	if (!m || !y)
		return pai_call_nomem(c);
	for (int64_t i = 0; i < dims[0] * points; i++) {
		const double *of = m + i / points * k * (k + 1);
		int64_t rest = i % points;
		double at[PAI_MAX_RANK]; /* last axis first */
		for (int d = 0; d < k; d++) {
			int64_t n = dims[k - d];
			double p = (double)(rest % n);
			rest /= n;
			at[d] = !corners ? (2 * p + 1) / (double)n - 1
				: n > 1  ? 2 * p / (double)(n - 1) - 1
					 : 0;
		}
		for (int r = 0; r < k; r++, y++) {
			*y = of[r * (k + 1) + k];
			for (int d = 0; d < k; d++)
				*y += of[r * (k + 1) + d] * at[d];
		}
	}
	pai_lane_finish(PAI_LANE_F64, y - dims[0] * points * k, c->out[0]);
	return PAI_OK;
}

const pai_kernel pai_kernel_affine_grid = {.run = affine_grid};

pai_status pai_shape_affine_grid(pai_shape_ctx *s)
{
	const pai_dim *size;
	pai_dim out[PAI_MAX_RANK];
	int n = pai_shape_ints(s, 1, &size);
	if (n < 3 || n > PAI_MAX_RANK)
		return PAI_OK;
	out[0] = size[0];
	for (int i = 2; i < n; i++)
		out[i - 1] = size[i];
	out[n - 1] = n - 2;
	pai_shape_set(s, 0, n, out);
	return PAI_OK;
}
