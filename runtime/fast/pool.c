/* pool.c -- pools over one or two axes, channels last, and their gradients. */
#include "runtime/fast/fast.h"
#include "runtime/kernels/window.h"

typedef struct pool_step {
	const pai_own *own;
	pai_pool w;
	const pai_tensor *x, *y, *dy, *dx;
	bool mask; /* the gradient of a Relu before the pool is taken as well */
	int threads;
} pool_step;

static void max_range(void *args, int64_t lo, int64_t hi, int thread)
{
	const pool_step *s = args;
	(void)thread;
	s->own->max_pool(&s->w, lo, hi, s->x->data, s->y->data);
}

static void max_grad_range(void *args, int64_t lo, int64_t hi, int thread)
{
	const pool_step *s = args;
	(void)thread;
	s->own->max_pool_grad(&s->w, lo, hi, s->x->data, s->y->data, s->dy->data, s->dx->data,
			      s->mask);
}

static void average_range(void *args, int64_t lo, int64_t hi, int thread)
{
	const pool_step *s = args;
	(void)thread;
	s->own->average_pool(&s->w, lo, hi, s->x->data, s->y->data);
}

static void average_grad_range(void *args, int64_t lo, int64_t hi, int thread)
{
	const pool_step *s = args;
	(void)thread;
	s->own->average_pool_grad(&s->w, lo, hi, s->dy->data, s->dx->data);
}

static pai_status run_max(void *args, pai_run *run)
{
	pool_step *s = args;
	(void)run;
	pai_parallel(s->threads, s->w.batch, max_range, s);
	return PAI_OK;
}

static pai_status run_max_grad(void *args, pai_run *run)
{
	pool_step *s = args;
	(void)run;
	pai_parallel(s->threads, s->w.batch, max_grad_range, s);
	return PAI_OK;
}

static pai_status run_average(void *args, pai_run *run)
{
	pool_step *s = args;
	(void)run;
	pai_parallel(s->threads, s->w.batch, average_range, s);
	return PAI_OK;
}

static pai_status run_average_grad(void *args, pai_run *run)
{
	pool_step *s = args;
	(void)run;
	pai_parallel(s->threads, s->w.batch, average_grad_range, s);
	return PAI_OK;
}

static bool is_image(const pai_slot *s)
{
	return s && s->place != PAI_IN_BUFFER && s->tensor.dtype == PAI_FLOAT &&
	       (s->tensor.rank == 3 || s->tensor.rank == 4) && pai_tensor_nelem(&s->tensor) > 0;
}

/* The step of a pool over image x with grid y; NULL where it does not fit. global: one window. */
static pai_status make(pai_plan *p, const pai_unit *u, const pai_slot *x, const pai_slot *y,
		       bool global, pool_step **out)
{
	*out = NULL;
	if (u->dynamic || !is_image(x) || !is_image(y))
		return PAI_OK;
	const pai_tensor *t = &x->tensor;
	int n = t->rank - 2, h = 0, v = n - 1;
	pai_call call = {.ctx = p->ctx, .node = u->node};
	pai_window w = {.rank = n};
	for (int i = 0; i < n && global; i++) {
		w.image[i] = w.kernel[i] = t->dims[i + 2];
		w.stride[i] = w.dilation[i] = w.grid[i] = 1;
	}
	if (!global)
		PAI_TRY(pai_window_over(&call, n, t->dims + 2, NULL, &w));
	pool_step *s = PAI_NEW(p->arena, pool_step);
	s->own = p->own;
	s->w = (pai_pool){.batch = t->dims[0],
			  .channels = t->dims[1],
			  .in_h = 1,
			  .out_h = 1,
			  .kernel_h = 1,
			  .stride_h = 1,
			  .dilation_h = 1,
			  .end_h = 1,
			  .in_w = w.image[v],
			  .out_w = w.grid[v],
			  .kernel_w = w.kernel[v],
			  .stride_w = w.stride[v],
			  .dilation_w = w.dilation[v],
			  .pad_w = w.begin[v],
			  .end_w = w.image[v] + w.begin[v] + w.end[v],
			  .count_pad = pai_node_int(u->node, "count_include_pad", 0) != 0};
	if (n == 2) {
		s->w.in_h = w.image[h];
		s->w.out_h = w.grid[h];
		s->w.kernel_h = w.kernel[h];
		s->w.stride_h = w.stride[h];
		s->w.dilation_h = w.dilation[h];
		s->w.pad_h = w.begin[h];
		s->w.end_h = w.image[h] + w.begin[h] + w.end[h];
	}
	s->threads = pai_step_threads(p, (double)pai_tensor_nelem(t) * 2);
	*out = s;
	return PAI_OK;
}

static void emit(pai_plan *p, const pai_unit *u, pool_step *s, pai_step_fn fn, const char *name,
		 int n_in, pai_slot **in, pai_slot *out)
{
	pai_step_info info = {.node = u->node, .name = name, .impl = p->own->name};
	for (int i = 0; i < n_in; i++)
		info.bytes += (double)in[i]->tensor.nbytes;
	info.bytes += (double)out->tensor.nbytes;
	pai_plan_emit(p, (pai_step){fn, s}, info, n_in, in, 1, &out);
}

static pai_status forward(pai_plan *p, pai_unit *u, bool *taken, pai_step_fn fn, bool global)
{
	pool_step *s;
	pai_slot *y = u->out[0];
	if (u->n_out > 1 && u->out[1] && (u->out[1]->readers || u->out[1]->keep))
		return PAI_OK;
	PAI_TRY(make(p, u, u->in[0], y, global, &s));
	if (!s)
		return PAI_OK;
	pai_slot *x = pai_slot_in(p, u->in[0], true), *to = pai_slot_out(p, y, true);
	s->x = &x->tensor;
	s->y = &to->tensor;
	emit(p, u, s, fn, u->node->op_type, 1, &x, to);
	pai_slot_done(p, y, to);
	*taken = true;
	return PAI_OK;
}

pai_status pai_fast_max_pool(pai_plan *p, pai_unit *u, bool *taken)
{
	return forward(p, u, taken, run_max, false);
}

pai_status pai_fast_average_pool(pai_plan *p, pai_unit *u, bool *taken)
{
	return forward(p, u, taken, run_average, false);
}

pai_status pai_fast_global_max_pool(pai_plan *p, pai_unit *u, bool *taken)
{
	return forward(p, u, taken, run_max, true);
}

pai_status pai_fast_global_average_pool(pai_plan *p, pai_unit *u, bool *taken)
{
	return forward(p, u, taken, run_average, true);
}

/* ReluGrad of the result, whose mask is the pool's own input. */
static pai_unit *following_relu_grad(const pai_slot *dx, const pai_slot *x)
{
	pai_unit *r = pai_slot_only_reader(dx);
	bool is = r && pai_node_is_in(r->node, PAI_DOMAIN_INTERNAL, "ReluGrad") && r->in[0] == dx &&
		  r->in[1] == x && r->out[0] && pai_unit_is(r, PAI_FLOAT);
	return is ? r : NULL;
}

pai_status pai_fast_max_pool_grad(pai_plan *p, pai_unit *u, bool *taken)
{
	pool_step *s;
	pai_slot *dx = u->out[0];
	PAI_TRY(make(p, u, u->in[0], u->in[1], false, &s));
	if (!s || !is_image(u->in[2]))
		return PAI_OK;
	pai_unit *grad = following_relu_grad(dx, u->in[0]);
	if (grad) {
		grad->dead = s->mask = true;
		dx = grad->out[0];
	}
	pai_slot *in[3], *to = pai_slot_out(p, dx, true);
	for (int i = 0; i < 3; i++)
		in[i] = pai_slot_in(p, u->in[i], true);
	s->x = &in[0]->tensor;
	s->y = &in[1]->tensor;
	s->dy = &in[2]->tensor;
	s->dx = &to->tensor;
	emit(p, u, s, run_max_grad, grad ? "MaxPoolGrad+ReluGrad" : "MaxPoolGrad", 3, in, to);
	pai_slot_done(p, dx, to);
	*taken = true;
	return PAI_OK;
}

static pai_status average_grad(pai_plan *p, pai_unit *u, bool *taken, bool global)
{
	pool_step *s;
	pai_slot *dx = u->out[0];
	PAI_TRY(make(p, u, dx, u->in[0], global, &s));
	if (!s)
		return PAI_OK;
	pai_slot *dy = pai_slot_in(p, u->in[0], true), *to = pai_slot_out(p, dx, true);
	s->dy = &dy->tensor;
	s->dx = &to->tensor;
	emit(p, u, s, run_average_grad, u->node->op_type, 1, &dy, to);
	pai_slot_done(p, dx, to);
	*taken = true;
	return PAI_OK;
}

pai_status pai_fast_average_pool_grad(pai_plan *p, pai_unit *u, bool *taken)
{
	return average_grad(p, u, taken, false);
}

pai_status pai_fast_global_average_pool_grad(pai_plan *p, pai_unit *u, bool *taken)
{
	return average_grad(p, u, taken, true);
}
