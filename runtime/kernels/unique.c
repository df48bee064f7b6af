/* unique.c -- Unique: the different elements, or slices along an axis, with where each stood first,
 * which of them every element is, and how often each is there. */
#include "runtime/kernels/move.h"
#include <stdlib.h>
#include <string.h>

typedef struct slices { /* x is [outer, n, inner] */
	const pai_tensor *x;
	int64_t outer, n, inner;
} slices;

typedef struct slice { /* qsort has no argument of its own */
	const slices *of;
	int64_t at;
} slice;

/* NaN counts as the largest, and as itself. */
static int compare_numbers(const pai_tensor *x, int64_t a, int64_t b)
{
	if (x->dtype == PAI_INT64 || x->dtype == PAI_UINT64) {
		uint64_t flip = x->dtype == PAI_INT64 ? (uint64_t)1 << 63 : 0;
		uint64_t u = ((const uint64_t *)x->data)[a] ^ flip;
		uint64_t v = ((const uint64_t *)x->data)[b] ^ flip;
		return u < v ? -1 : u > v;
	}
	double u = pai_tensor_get(x, a), v = pai_tensor_get(x, b);
	if (u != u || v != v)
		return (u != u) - (v != v);
	return u < v ? -1 : u > v;
}

static int compare_elements(const pai_tensor *x, int64_t a, int64_t b)
{
	if (x->dtype != PAI_STRING)
		return compare_numbers(x, a, b);
	const pai_str *s = (const pai_str *)x->data + a, *t = (const pai_str *)x->data + b;
	size_t n = s->n < t->n ? s->n : t->n;
	int order = n ? memcmp(s->at, t->at, n) : 0;
	return order ? order : s->n < t->n ? -1 : s->n > t->n;
}

static int compare(const slice *a, const slice *b)
{
	const slices *s = a->of;
	int order = 0;
	for (int64_t o = 0; !order && o < s->outer; o++)
		for (int64_t i = 0; !order && i < s->inner; i++)
			order = compare_elements(s->x, (o * s->n + a->at) * s->inner + i,
						 (o * s->n + b->at) * s->inner + i);
	return order;
}

static int by_contents(const void *a, const void *b)
{
	const slice *x = a, *y = b;
	int order = compare(x, y);
	return order ? order : x->at < y->at ? -1 : x->at > y->at;
}

typedef struct kind { /* of equal slices */
	int64_t first, count, sorted;
} kind;

static int by_first(const void *a, const void *b)
{
	const kind *x = a, *y = b;
	return x->first < y->first ? -1 : x->first > y->first;
}

/* Kinds in order of contents; inverse[i] is the kind of slice i. */
static int64_t find_kinds(slice *all, int64_t n, kind *kinds, int64_t *inverse)
{
	int64_t count = 0;
	qsort(all, (size_t)n, sizeof *all, by_contents);
	for (int64_t i = 0; i < n; i++) {
		if (i == 0 || compare(&all[i - 1], &all[i]) != 0) {
			kinds[count] = (kind){.first = all[i].at, .sorted = count};
			count++;
		}
		kinds[count - 1].count++;
		inverse[all[i].at] = count - 1;
	}
	return count;
}

static pai_status give(pai_call *c, int o, int64_t n, int64_t **out)
{
	*out = NULL;
	if (o >= c->n_out || !c->out[o])
		return PAI_OK;
	PAI_TRY(pai_call_output(c, o, PAI_INT64, 1, &n));
	*out = c->out[o]->data;
	return PAI_OK;
}

static pai_status give_slices(pai_call *c, const slices *s, int axis, bool flat, int64_t count,
			      const kind *kinds)
{
	int64_t dims[PAI_MAX_RANK] = {count};
	if (!flat) {
		pai_copy(dims, s->x->dims, sizeof *dims * (size_t)s->x->rank);
		dims[axis] = count;
	}
	PAI_TRY(pai_call_output(c, 0, s->x->dtype, flat ? 1 : s->x->rank, dims));
	pai_flat from, to;
	PAI_TRY(pai_flat_in(c, 0, &from));
	PAI_TRY(pai_flat_out(c, 0, &to));
	size_t row = (size_t)s->inner * from.size;
	for (int64_t o = 0; o < s->outer; o++)
		for (int64_t k = 0; k < count; k++)
			pai_copy(to.at + (size_t)(o * count + k) * row,
				 from.at + (size_t)(o * s->n + kinds[k].first) * row, row);
	pai_flat_done(c, 0, &to);
	return PAI_OK;
}

static pai_status unique(pai_call *c)
{
	const pai_tensor *x = c->in[0];
	bool flat = !pai_node_attr(c->node, "axis");
	slices s = {.x = x, .outer = 1, .n = flat ? pai_tensor_nelem(x) : 0, .inner = 1};
	int axis = 0;
	void *all = NULL, *kinds = NULL, *inverse = NULL, *place = NULL;
	if (pai_dtype_get(x->dtype)->kind == PAI_KIND_COMPLEX)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, 0),
				"is complex, which has no order");
	if (!flat) {
		PAI_TRY(pai_call_axis(c, pai_node_int(c->node, "axis", 0), x->rank, &axis));
		s.n = x->dims[axis];
		for (int i = 0; i < x->rank; i++)
			*(i < axis ? &s.outer : &s.inner) *= i == axis ? 1 : x->dims[i];
	}
	PAI_TRY(pai_call_room(c, s.n, sizeof(slice), &all));
	PAI_TRY(pai_call_room(c, s.n, sizeof(kind), &kinds));
	PAI_TRY(pai_call_room(c, s.n, sizeof(int64_t), &inverse));
	PAI_TRY(pai_call_room(c, s.n, sizeof(int64_t), &place));
	for (int64_t i = 0; i < s.n; i++)
		((slice *)all)[i] = (slice){&s, i};
	kind *k = kinds;
	int64_t count = find_kinds(all, s.n, k, inverse), *to, *at = place;
	if (!pai_node_int(c->node, "sorted", 1))
		qsort(k, (size_t)count, sizeof *k, by_first);
	for (int64_t i = 0; i < count; i++)
		at[k[i].sorted] = i;
	PAI_TRY(give_slices(c, &s, axis, flat, count, k));
	PAI_TRY(give(c, 1, count, &to));
	for (int64_t i = 0; to && i < count; i++)
		to[i] = k[i].first;
	PAI_TRY(give(c, 2, s.n, &to));
	for (int64_t i = 0; to && i < s.n; i++)
		to[i] = at[((int64_t *)inverse)[i]];
	PAI_TRY(give(c, 3, count, &to));
	for (int64_t i = 0; to && i < count; i++)
		to[i] = k[i].count;
	return PAI_OK;
}

/* Comparisons of sorting up to 2^30 slices. */
static double unique_work(const pai_node *n, const pai_tensor *const *in,
			  const pai_tensor *const *out)
{
	(void)n, (void)out;
	return 60 * pai_elements(in[0]);
}

const pai_kernel pai_kernel_unique = {.run = unique, .work = unique_work};
