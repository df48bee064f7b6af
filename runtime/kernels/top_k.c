/* top_k.c -- TopK: the k largest or smallest elements along an axis and where they were. Equal ones
 * keep their order; a NaN counts as larger than any number. */
#include "runtime/kernels/grad.h"
#include "runtime/kernels/gemm.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct ranked { /* an element of a line */
	double key;     /* smaller comes first */
	uint64_t bits;  /* integers of 64 bits: the key proper, in the same order */
	int64_t at;
} ranked;

static int by_rank(const void *a, const void *b)
{
	const ranked *x = a, *y = b;
	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	if (x->bits != y->bits)
		return x->bits < y->bits ? -1 : 1;
	return x->at < y->at ? -1 : x->at > y->at;
}

/* A key whose order is that of the elements, largest first where `largest` is set. */
static ranked rank_of(const pai_tensor *t, int64_t i, int64_t at, bool largest)
{
	ranked r = {.at = at};
	if (t->dtype == PAI_INT64 || t->dtype == PAI_UINT64) {
		r.bits = ((const uint64_t *)t->data)[i];
		r.bits ^= t->dtype == PAI_INT64 ? (uint64_t)1 << 63 : 0;
		r.bits = largest ? ~r.bits : r.bits;
		return r;
	}
	double v = pai_tensor_get(t, i);
	r.bits = isnan(v) ? !largest : largest; /* beside infinities */
	v = isnan(v) ? INFINITY : v;
	r.key = largest ? -v : v;
	return r;
}

static pai_status top_k(pai_call *c)
{
	const pai_tensor *x = c->in[0];
	int axis;
	int64_t k = pai_node_int(c->node, "k", -1), dims[PAI_MAX_RANK], inner = 1;
	bool largest = pai_node_int(c->node, "largest", 1);
	PAI_TRY(pai_call_axis(c, pai_node_int(c->node, "axis", -1), x->rank, &axis));
	if (c->n_in > 1 && pai_tensor_nelem(c->in[1]) == 1)
		k = pai_tensor_get_int(c->in[1], 0);
	int64_t n = x->dims[axis];
	if (k < 0 || k > n)
		return pai_fail(c->ctx, PAI_E_bad_index, pai_at_node(c->node),
				"asks for %lld of %lld elements", (long long)k, (long long)n);
	pai_copy(dims, x->dims, sizeof *dims * (size_t)x->rank);
	dims[axis] = k;
	for (int i = axis + 1; i < x->rank; i++)
		inner *= x->dims[i];
	PAI_TRY(pai_call_output(c, 0, x->dtype, x->rank, dims));
	PAI_TRY(pai_call_output(c, 1, PAI_INT64, x->rank, dims));
	void *room = NULL;
	PAI_TRY(pai_call_room(c, n, sizeof(ranked), &room));
	ranked *line = room;
	size_t size = (size_t)pai_dtype_get(x->dtype)->bits / 8;
	for (int64_t l = 0, lines = n ? pai_tensor_nelem(x) / n : 0; l < lines; l++) {
		int64_t from = l / inner * inner * n + l % inner;
		int64_t to = l / inner * inner * k + l % inner;
		for (int64_t i = 0; i < n; i++)
			line[i] = rank_of(x, from + i * inner, i, largest);
		qsort(line, (size_t)n, sizeof *line, by_rank);
		for (int64_t i = 0; i < k; i++, to += inner) {
			if (c->out[0])
				memcpy((uint8_t *)c->out[0]->data + (size_t)to * size,
				       (const uint8_t *)x->data +
					       (size_t)(from + line[i].at * inner) * size,
				       size);
			if (c->n_out > 1 && c->out[1])
				((int64_t *)c->out[1]->data)[to] = line[i].at;
		}
	}
	return PAI_OK;
}

/* Comparisons of sorting, for lines of up to 2^30. */
static double sort_work(const pai_node *n, const pai_tensor *const *in,
			const pai_tensor *const *out)
{
	(void)n, (void)out;
	return 30 * pai_elements(in[0]);
}

const pai_kernel pai_kernel_top_k = {.run = top_k, .work = sort_work};

/* dX = 0 with dY where the elements were; their indices are the second output. */
pai_status pai_grad_top_k(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	pai_patch *p = pai_grad_patch(g);
	if (!dy[0] || !pai_node_out(n, 1))
		return PAI_OK;
	dx[0] = PAI_OP3(p, "ScatterElements", "grad", pai_grad_zeros(g, n, n->in[0]), n->out[1],
			dy[0]);
	pai_patch_set_int(p, dx[0]->producer, "axis", pai_node_int(n, "axis", -1));
	return PAI_OK;
}
