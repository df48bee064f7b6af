/* non_max_suppression.c -- NonMaxSuppression: for each batch and class the boxes in order of their
 * scores, without those that overlap a box taken before by more than iou_threshold. Equal scores
 * keep their order. */
#include "runtime/kernels/gemm.h"
#include <math.h>
#include <stdlib.h>

typedef struct box { /* corners in order, and a score */
	float y1, x1, y2, x2, score;
	int64_t at;
} box;

typedef struct selection {
	int64_t batches, classes, boxes, most; /* most: of one class */
	float overlap;                         /* at most that much */
	bool by_score;                         /* scores must be greater than `score` */
	float score;
	bool centred; /* a box is center x, center y, width, height */
	const float *corners, *scores;
	box *candidates; /* [boxes] */
	int64_t *found;  /* [n_found, 3] */
	int64_t n_found;
} selection;

static int by_score(const void *a, const void *b)
{
	const box *x = a, *y = b;
	if (x->score != y->score)
		return x->score > y->score ? -1 : 1;
	return x->at < y->at ? -1 : x->at > y->at;
}

static box box_of(const selection *s, int64_t batch, int64_t i)
{
	const float *p = s->corners + (batch * s->boxes + i) * 4;
	if (s->centred)
		return (box){.x1 = p[0] - p[2] / 2,
			     .x2 = p[0] + p[2] / 2,
			     .y1 = p[1] - p[3] / 2,
			     .y2 = p[1] + p[3] / 2};
	return (box){.y1 = fminf(p[0], p[2]),
		     .x1 = fminf(p[1], p[3]),
		     .y2 = fmaxf(p[0], p[2]),
		     .x2 = fmaxf(p[1], p[3])};
}

static float area(const box *b)
{
	return (b->y2 - b->y1) * (b->x2 - b->x1);
}

static bool overlaps(const box *a, const box *b, float threshold)
{
	float h = fminf(a->y2, b->y2) - fmaxf(a->y1, b->y1);
	float w = fminf(a->x2, b->x2) - fmaxf(a->x1, b->x1);
	if (!(h > 0 && w > 0) || !(area(a) > 0 && area(b) > 0))
		return false;
	float both = h * w, all = area(a) + area(b) - both;
	return all > 0 && both / all > threshold;
}

static int64_t candidates_of(const selection *s, int64_t batch, int64_t class)
{
	const float *scores = s->scores + (batch * s->classes + class) * s->boxes;
	int64_t n = 0;
	for (int64_t i = 0; i < s->boxes; i++)
		if (!s->by_score || scores[i] > s->score) {
			s->candidates[n] = box_of(s, batch, i);
			s->candidates[n].score = scores[i];
			s->candidates[n++].at = i;
		}
	qsort(s->candidates, (size_t)n, sizeof(box), by_score);
	return n;
}

/* Boxes that are taken move to the front of the candidates. */
static void select_class(selection *s, int64_t batch, int64_t class, int64_t n)
{
	int64_t taken = 0;
	for (int64_t i = 0; i < n && taken < s->most; i++) {
		bool free = true;
		for (int64_t k = 0; free && k < taken; k++)
			free = !overlaps(&s->candidates[i], &s->candidates[k], s->overlap);
		if (!free)
			continue;
		s->candidates[taken++] = s->candidates[i];
		int64_t *to = s->found + 3 * s->n_found++;
		to[0] = batch;
		to[1] = class;
		to[2] = s->candidates[taken - 1].at;
	}
}

/* The only element of an optional input, or what stands in for it. */
static pai_status number(pai_call *c, int slot, pai_dtype dtype, double otherwise, double *out)
{
	const pai_tensor *t = slot < c->n_in ? c->in[slot] : NULL;
	*out = otherwise;
	if (!t)
		return PAI_OK;
	if (t->dtype != dtype || pai_tensor_nelem(t) != 1)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, slot),
				"is not one %s", pai_dtype_get(dtype)->text);
	*out = pai_tensor_get(t, 0);
	return PAI_OK;
}

static pai_status read_inputs(pai_call *c, selection *s)
{
	const pai_tensor *boxes = c->in[0], *scores = c->in[1];
	double most, overlap, score;
	PAI_TRY(number(c, 2, PAI_INT64, 0, &most));
	PAI_TRY(number(c, 3, PAI_FLOAT, 0, &overlap));
	PAI_TRY(number(c, 4, PAI_FLOAT, 0, &score));
	if (boxes->dtype != PAI_FLOAT || boxes->rank != 3 || boxes->dims[2] != 4)
		return pai_fail(c->ctx, PAI_E_runtime_shape, pai_at_input(c->node, 0),
				"is not float[batch, boxes, 4]");
	if (scores->dtype != PAI_FLOAT || scores->rank != 3 || scores->dims[0] != boxes->dims[0] ||
	    scores->dims[2] != boxes->dims[1])
		return pai_fail(c->ctx, PAI_E_runtime_shape, pai_at_input(c->node, 1),
				"is not float[batch, classes, boxes] for the boxes given");
	if (!(overlap >= 0 && overlap <= 1))
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, 3),
				"is %g, outside [0, 1]", overlap);
	*s = (selection){.batches = scores->dims[0], .classes = scores->dims[1]};
	s->boxes = scores->dims[2];
	s->most = most < 0 ? 0 : most < (double)s->boxes ? (int64_t)most : s->boxes;
	s->overlap = (float)overlap;
	s->by_score = c->n_in > 4 && c->in[4];
	s->score = (float)score;
	s->centred = pai_node_int(c->node, "center_point_box", 0) != 0;
	s->corners = boxes->data;
	s->scores = scores->data;
	return PAI_OK;
}

static pai_status non_max_suppression(pai_call *c)
{
	selection s = {.n_found = 0};
	void *room = NULL, *found = NULL;
	PAI_TRY(read_inputs(c, &s));
	PAI_TRY(pai_call_room(c, s.boxes, sizeof(box), &room));
	PAI_TRY(pai_call_room(c, s.batches * s.classes * s.most, 3 * sizeof(int64_t), &found));
	s.candidates = room;
	s.found = found;
	for (int64_t i = 0; i < s.batches * s.classes && s.most; i++) {
		int64_t n = candidates_of(&s, i / s.classes, i % s.classes);
		/* how much this takes is known only now */
		PAI_TRY(pai_budget_work(c->ctx, pai_at_node(c->node),
					(double)n * (double)(n < s.most ? n : s.most) / 2));
		select_class(&s, i / s.classes, i % s.classes, n);
	}
	PAI_TRY(pai_call_output(c, 0, PAI_INT64, 2, (int64_t[]){s.n_found, 3}));
	pai_copy(c->out[0]->data, found, (size_t)s.n_found * 3 * sizeof(int64_t));
	return PAI_OK;
}

/* Sorting; comparisons of boxes are charged as they come. */
static double sort_work(const pai_node *n, const pai_tensor *const *in,
			const pai_tensor *const *out)
{
	(void)n, (void)out;
	return 30 * pai_elements(in[1]);
}

const pai_kernel pai_kernel_non_max_suppression = {.run = non_max_suppression, .work = sort_work};
