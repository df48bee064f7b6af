/* quantize.c -- QuantizeLinear with the DequantizeLinear behind it, one scale each: rounding to the
 * grid of the integers without leaving floats. The integers themselves are left to the reference
 * kernels. */
#include "runtime/fast/fast.h"
#include <math.h>

typedef struct quantize_step {
	const pai_own *own;
	const pai_tensor *x, *y;
	pai_grid grid;
	int64_t n;
	int threads;
} quantize_step;

enum { CHUNK = 64 };

static void range(void *args, int64_t lo, int64_t hi, int thread)
{
	const quantize_step *s = args;
	int64_t from = lo * CHUNK, to = hi * CHUNK < s->n ? hi * CHUNK : s->n;
	(void)thread;
	s->own->to_grid(&s->grid, to - from, (const float *)s->x->data + from,
			(float *)s->y->data + from);
}

static pai_status run(void *args, pai_run *run)
{
	quantize_step *s = args;
	(void)run;
	pai_parallel(s->threads, (s->n + CHUNK - 1) / CHUNK, range, s);
	return PAI_OK;
}

/* One scale and zero point that no run changes, at inputs 1 and 2. */
static bool constants(const pai_unit *u, float *scale, float *zero)
{
	const pai_tensor *s = pai_slot_constant(u->n_in > 1 ? u->in[1] : NULL);
	const pai_slot *z = u->n_in > 2 ? u->in[2] : NULL;
	if (!s || s->dtype != PAI_FLOAT || pai_tensor_nelem(s) != 1 ||
	    (z && (!pai_slot_constant(z) || pai_tensor_nelem(&z->tensor) != 1)) ||
	    pai_node_int(u->node, "precision", 0) || pai_node_int(u->node, "block_size", 0))
		return false;
	*scale = *(const float *)s->data;
	*zero = z ? (float)pai_tensor_get_int(&z->tensor, 0) : 0;
	return *scale > 0 && isfinite(*scale);
}

static bool integers_of(pai_dtype dtype, pai_grid *g)
{
	const pai_dtype_info *type = pai_dtype_get(dtype);
	if ((type->kind != PAI_KIND_SIGNED && type->kind != PAI_KIND_UNSIGNED) || type->bits > 16)
		return false;
	g->low = type->kind == PAI_KIND_SIGNED ? -ldexpf(1, type->bits - 1) : 0;
	g->high = g->low + ldexpf(1, type->bits) - 1;
	return true;
}

pai_status pai_fast_quantize_linear(pai_plan *p, pai_unit *u, bool *taken)
{
	pai_slot *x = u->in[0], *q = u->out[0];
	pai_grid g;
	if (u->dynamic || !x || !q || x->place == PAI_IN_BUFFER || x->tensor.dtype != PAI_FLOAT ||
	    !pai_tensor_nelem(&x->tensor) || !integers_of(q->tensor.dtype, &g) ||
	    !constants(u, &g.scale, &g.zero))
		return PAI_OK;
	pai_unit *back = pai_slot_only_reader(q);
	if (!back || !pai_node_is(back->node, "DequantizeLinear") || back->in[0] != q ||
	    !back->out[0] || back->out[0]->tensor.dtype != PAI_FLOAT ||
	    !constants(back, &g.back_scale, &g.back_zero))
		return PAI_OK;
	back->dead = *taken = true;
	pai_slot *y = pai_slot_out(p, back->out[0], x->channels_last);
	if (y->channels_last != x->channels_last)
		x = pai_slot_in(p, x, y->channels_last);
	pai_slot_reuse(p, x, y);
	quantize_step *s = PAI_NEW(p->arena, quantize_step);
	*s = (quantize_step){.own = p->own,
			     .x = &x->tensor,
			     .y = &y->tensor,
			     .grid = g,
			     .n = pai_tensor_nelem(&x->tensor)};
	s->threads = pai_step_threads(p, 6.0 * (double)s->n);
	pai_step_info info = {.node = u->node,
			      .name = "QuantizeLinear+DequantizeLinear",
			      .impl = p->own->name,
			      .flops = 6.0 * (double)s->n,
			      .bytes = 8.0 * (double)s->n};
	pai_plan_emit(p, (pai_step){run, s}, info, 1, &x, 1, &y);
	pai_slot_done(p, back->out[0], y);
	return PAI_OK;
}
