/* fast.c -- the table of fast builders and what they share: orders of channels, reuse of memory. */
#include "runtime/fast/fast.h"
#include <omp.h>
#include <string.h>

static const pai_fast_fn builders[] = {
#define OP(name, since, traits, in, out, attr, types, shape, kernel, grad, fast, ...) \
	pai_fast_##fast,
#include "schemas/all_ops.def"
#undef OP
};

pai_status pai_fast_none(pai_plan *p, pai_unit *u, bool *taken)
{
	(void)p;
	(void)u;
	(void)taken;
	return PAI_OK;
}

pai_status pai_emit_fast(pai_plan *p, pai_unit *u, bool *taken)
{
	if (!u->node->op || u->dynamic)
		return PAI_OK;
	return builders[pai_op_id(u->node->op)](p, u, taken);
}

static bool slot_is(const pai_slot *s, pai_dtype dtype)
{
	return !s || (s->place != PAI_IN_BUFFER && s->tensor.dtype == dtype);
}

bool pai_unit_is(const pai_unit *u, pai_dtype dtype)
{
	bool is = !u->dynamic;
	for (int i = 0; is && i < u->n_in; i++)
		is = slot_is(u->in[i], dtype);
	for (int o = 0; is && o < u->n_out; o++)
		is = slot_is(u->out[o], dtype);
	return is;
}

const pai_tensor *pai_slot_constant(const pai_slot *s)
{
	return s && s->place == PAI_IN_CONST ? &s->tensor : NULL;
}

/* Both orders of channels are the same bytes, or there is no choice. */
static bool one_order(const pai_tensor *t)
{
	int64_t space = 1;
	for (int i = 2; i < t->rank; i++)
		space *= t->dims[i];
	return t->rank < 3 || t->dims[1] == 1 || space == 1;
}

typedef struct reorder {
	const pai_own *own;
	const pai_tensor *from, *to;
	int64_t batch, rows, cols; /* of each image as it is */
	int threads;
} reorder;

static void reorder_images(void *args, int64_t lo, int64_t hi, int thread)
{
	const reorder *r = args;
	(void)thread;
	int64_t size = r->rows * r->cols;
	for (int64_t i = lo; i < hi; i++)
		r->own->transpose(r->rows, r->cols, (const float *)r->from->data + i * size,
				  r->cols, (float *)r->to->data + i * size, r->rows);
}

static pai_status run_reorder(void *args, pai_run *run)
{
	reorder *r = args;
	(void)run;
	pai_parallel(r->threads, r->batch, reorder_images, r);
	return PAI_OK;
}

static void emit_reorder(pai_plan *p, pai_slot *from, pai_slot *to)
{
	const pai_tensor *t = &from->tensor;
	int64_t space = 1;
	for (int i = 2; i < t->rank; i++)
		space *= t->dims[i];
	reorder *r = PAI_NEW(p->arena, reorder);
	*r = (reorder){.own = p->own, .from = t, .to = &to->tensor, .batch = t->dims[0]};
	r->rows = to->channels_last ? t->dims[1] : space;
	r->cols = to->channels_last ? space : t->dims[1];
	r->threads = pai_step_threads(p, 4.0 * (double)pai_tensor_nelem(t));
	pai_step_info info = {
		.name = "reorder", .impl = p->own->name, .bytes = 2.0 * (double)t->nbytes};
	pai_plan_emit(p, (pai_step){run_reorder, r}, info, 1, &from, 1, &to);
}

static pai_slot *new_twin(pai_plan *p, pai_slot *s)
{
	pai_slot *t = pai_plan_slot(p, s->value, PAI_IN_ARENA);
	t->tensor = s->tensor;
	t->tensor.data = NULL;
	t->channels_last = !s->channels_last;
	t->twin = s;
	s->twin = t;
	return t;
}

pai_slot *pai_slot_in(pai_plan *p, pai_slot *s, bool last)
{
	if (!s || s->channels_last == last || s->place == PAI_IN_BUFFER || one_order(&s->tensor) ||
	    s->tensor.dtype != PAI_FLOAT)
		return s;
	if (!s->twin)
		emit_reorder(p, s, new_twin(p, s));
	return s->twin;
}

pai_slot *pai_slot_out(pai_plan *p, pai_slot *s, bool last)
{
	if (!last || one_order(&s->tensor))
		return s;
	if (s->place != PAI_IN_ARENA)
		return new_twin(p, s);
	s->channels_last = true;
	return s;
}

void pai_slot_done(pai_plan *p, pai_slot *s, pai_slot *written)
{
	if (written != s)
		emit_reorder(p, written, s);
}

pai_slot *pai_slot_temp(pai_plan *p, size_t nbytes)
{
	pai_slot *s = pai_plan_slot(p, NULL, PAI_IN_ARENA);
	s->tensor.dtype = PAI_UINT8;
	s->tensor.rank = 1;
	s->tensor.dims = PAI_NEW(p->arena, int64_t);
	s->tensor.dims[0] = (int64_t)nbytes;
	s->tensor.nbytes = nbytes;
	return s;
}

pai_status pai_slot_fixed(pai_plan *p, size_t nbytes, pai_slot **out)
{
	pai_slot *s = pai_slot_temp(p, nbytes);
	s->place = PAI_IN_CONST;
	s->tensor.data = pai_arena_bulk(p->arena, nbytes);
	*out = s;
	return s->tensor.data
		       ? PAI_OK
		       : pai_fail(p->ctx, PAI_E_memory, pai_at_nothing(), "no memory for weights");
}

bool pai_slot_ready(const pai_slot *s)
{
	return s->place != PAI_IN_ARENA || s->root->first >= 0;
}

pai_unit *pai_slot_only_reader(const pai_slot *s)
{
	bool only = s->readers == 1 && !s->keep && s->place == PAI_IN_ARENA && s->root == s &&
		    !s->shared && s->reader && !s->reader->dead && !s->reader->dynamic;
	return only ? s->reader : NULL;
}

pai_unit *pai_following_relu(const pai_slot *y)
{
	pai_unit *r = pai_slot_only_reader(y);
	bool is = r && pai_node_is(r->node, "Relu") && r->out[0] && pai_unit_is(r, PAI_FLOAT);
	return is ? r : NULL;
}

/* No unit to come reads it, and nothing else does. */
static bool is_last_read(const pai_plan *p, const pai_slot *s)
{
	return s->readers == 1 || (!s->mover && s != p->loss && s->last_unit <= p->unit);
}

bool pai_slot_reuse(pai_plan *p, pai_slot *in, pai_slot *out)
{
	if (in->place != PAI_IN_ARENA || in->keep || in->root != in || in->shared || in->twin ||
	    out->place != PAI_IN_ARENA || out->root != out ||
	    in->tensor.nbytes != out->tensor.nbytes || !is_last_read(p, in))
		return false;
	out->root = in;
	in->shared++;
	return true;
}

enum { STEP_WORK = 100000 }; /* multiply-adds worth another thread within a step */

int pai_step_threads(const pai_plan *p, double work)
{
	double fit = work / STEP_WORK;
	return fit < 2 ? 1 : fit > p->threads ? p->threads : (int)fit;
}

void pai_parallel(int threads, int64_t n, pai_range_fn fn, void *args)
{
	if (threads > n)
		threads = (int)n;
	if (threads <= 1) {
		if (n > 0)
			fn(args, 0, n, 0);
		return;
	}
#pragma omp parallel num_threads(threads)
	{
		int t = omp_get_thread_num(), all = omp_get_num_threads();
		int64_t lo = n * t / all, hi = n * (t + 1) / all;
		if (lo < hi)
			fn(args, lo, hi, t);
	}
}

/* Multiply-adds, from the shapes of the first operands. */
static double unit_work(const pai_unit *u)
{
	const pai_tensor *in[PAI_WORK_OPERANDS] = {NULL}, *out[PAI_WORK_OPERANDS] = {NULL};
	if (u->dynamic)
		return 0;
	for (int i = 0; i < u->n_in && i < PAI_WORK_OPERANDS; i++)
		in[i] = u->in[i] ? &u->in[i]->tensor : NULL;
	for (int o = 0; o < u->n_out && o < PAI_WORK_OPERANDS; o++)
		out[o] = u->out[o] ? &u->out[o]->tensor : NULL;
	return pai_kernel_work(u->node, PAI_WORK_OPERANDS, in, PAI_WORK_OPERANDS, out);
}

bool pai_unit_is_fast(const pai_plan *p, const pai_unit *u)
{
	return p->options.backend == PAI_FAST && u->node->op &&
	       builders[pai_op_id(u->node->op)] != pai_fast_none && pai_unit_is(u, PAI_FLOAT);
}

void pai_plan_prepare(pai_plan *p)
{
	for (int i = 0; i < p->units.n; i++)
		if (!p->units.at[i]->dead)
			p->work += unit_work(p->units.at[i]);
}
