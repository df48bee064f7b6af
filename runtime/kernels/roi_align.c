/* roi_align.c -- RoiAlign: regions of an image brought to one size. */
#include "runtime/kernels/indices.h"
#include "runtime/kernels/lanes.h"
#include <math.h>
#include <string.h>

typedef struct regions {
	int64_t channels, height, width; /* of the image */
	int64_t rows, columns;           /* of the result */
	double scale;
	int64_t samples; /* along an axis of a cell; 0: as many as the cell is large */
	bool half_pixel, max;
} regions;

/* Cells of one axis of a region. */
typedef struct axis {
	double start, cell; /* of the first cell, size of a cell */
	int64_t samples;
} axis;

static axis axis_of(const regions *g, double from, double to, int64_t cells)
{
	double offset = g->half_pixel ? 0.5 : 0, start = from * g->scale - offset;
	double size = to * g->scale - offset - start;
	if (!g->half_pixel && size < 1)
		size = 1;
	axis a = {.start = start, .cell = size / (double)cells, .samples = g->samples};
	if (!a.samples) {
		double n = ceil(a.cell);
		a.samples = n > 0 ? (int64_t)fmin(n, 0x1p40) : 0;
	}
	return a;
}

/* The two elements next to a position and the part of the second; false: outside the image. */
static bool between(double at, int64_t size, int64_t *low, int64_t *high, double *part)
{
	if (!(at >= -1 && at <= (double)size) || size == 0)
		return false;
	at = at < 0 ? 0 : at;
	*low = (int64_t)at;
	*high = *low + 1;
	*part = at - (double)*low;
	if (*low >= size - 1) {
		*low = *high = size - 1;
		*part = 0;
	}
	return true;
}

/* One cell of one channel. The maximum is taken over the weighted corners, as ONNX defines it. */
static double cell_of(const regions *g, const double *image, const axis *v, const axis *h,
		      int64_t row, int64_t column)
{
	double sum = 0, most = 0;
	bool first = true;
	for (int64_t i = 0; i < v->samples; i++)
		for (int64_t j = 0; j < h->samples; j++) {
			double y = v->start +
				   v->cell * ((double)row + ((double)i + 0.5) / (double)v->samples);
			double x = h->start + h->cell * ((double)column +
							 ((double)j + 0.5) / (double)h->samples);
			int64_t y0 = 0, y1 = 0, x0 = 0, x1 = 0;
			double ly = 0, lx = 0, corner[4] = {0};
			if (between(y, g->height, &y0, &y1, &ly) &&
			    between(x, g->width, &x0, &x1, &lx)) {
				corner[0] = (1 - ly) * (1 - lx) * image[y0 * g->width + x0];
				corner[1] = (1 - ly) * lx * image[y0 * g->width + x1];
				corner[2] = ly * (1 - lx) * image[y1 * g->width + x0];
				corner[3] = ly * lx * image[y1 * g->width + x1];
			}
			double largest =
				fmax(fmax(corner[0], corner[1]), fmax(corner[2], corner[3]));
			sum += corner[0] + corner[1] + corner[2] + corner[3];
			most = first || largest > most ? largest : most;
			first = false;
		}
	int64_t n = v->samples * h->samples;
	return g->max ? most : sum / (double)(n > 0 ? n : 1);
}

static pai_status read_regions(pai_call *c, regions *g)
{
	const pai_tensor *x = c->in[0], *rois = c->in[1];
	const char *shift =
		pai_node_string(c->node, "coordinate_transformation_mode", "output_half_pixel");
	const char *mode = pai_node_string(c->node, "mode", "avg");
	*g = (regions){.rows = pai_node_int(c->node, "output_height", 1),
		       .columns = pai_node_int(c->node, "output_width", 1),
		       .samples = pai_node_int(c->node, "sampling_ratio", 0),
		       .scale = (double)pai_node_float(c->node, "spatial_scale", 1),
		       .half_pixel = strcmp(shift, "half_pixel") == 0,
		       .max = strcmp(mode, "max") == 0};
	if (g->rows < 1 || g->columns < 1 || g->samples < 0 ||
	    (!g->max && strcmp(mode, "avg") != 0))
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_node(c->node),
				"has an attribute out of range");
	if (x->rank != 4 || rois->rank != 2 || rois->dims[1] != 4 || c->in[2]->rank != 1 ||
	    c->in[2]->dims[0] != rois->dims[0] || pai_lane_of(x->dtype) == PAI_LANE_NONE ||
	    pai_lane_of(rois->dtype) == PAI_LANE_NONE)
		return pai_fail(c->ctx, PAI_E_runtime_shape, pai_at_node(c->node),
				"needs an image of rank 4, regions [n, 4] and n indices");
	g->channels = x->dims[1];
	g->height = x->dims[2];
	g->width = x->dims[3];
	return PAI_OK;
}

static pai_status roi_align(pai_call *c)
{
	const pai_tensor *x = c->in[0], *rois = c->in[1];
	regions g;
	int64_t *batch = NULL;
	PAI_TRY(read_regions(c, &g));
	PAI_TRY(pai_call_positions(c, 2, x->dims[0], &batch));
	PAI_TRY(pai_call_output(c, 0, x->dtype, 4,
				(int64_t[]){rois->dims[0], g.channels, g.rows, g.columns}));
	const double *image = pai_lane_view(c, PAI_LANE_F64, x);
	double *y = pai_lane_begin(c, PAI_LANE_F64, c->out[0]);
	if (!image || !y)
		return pai_call_nomem(c);
	const int64_t cells = g.rows * g.columns, plane = g.height * g.width;
	for (int64_t r = 0; r < rois->dims[0]; r++) {
		double at[4];
		for (int i = 0; i < 4; i++)
			at[i] = pai_tensor_get(rois, r * 4 + i);
		axis h = axis_of(&g, at[0], at[2], g.columns),
		     v = axis_of(&g, at[1], at[3], g.rows);
		/* how many samples a cell has is known only now */
		PAI_TRY(pai_budget_work(c->ctx, pai_at_node(c->node),
					10 * (double)(g.channels * cells) * (double)h.samples *
						(double)v.samples));
		for (int64_t i = 0; i < g.channels * cells; i++)
			y[r * g.channels * cells + i] =
				cell_of(&g, image + (batch[r] * g.channels + i / cells) * plane, &v,
					&h, i % cells / g.columns, i % g.columns);
	}
	pai_lane_finish(PAI_LANE_F64, y, c->out[0]);
	return PAI_OK;
}

const pai_kernel pai_kernel_roi_align = {.run = roi_align};
