/* recurrent.c -- RNN, GRU, LSTM, and LSTM with quantised weights: one loop over time around three
 * kinds of cells. The arithmetic is double.
 *
 * For each direction the products of the whole sequence with W are made at once; a step then takes
 * the product of the states with R and lets the cell make new states of both. A sample that has
 * ended keeps its states, and its part of Y is 0.
 */
#include "runtime/kernels/cell_function.h"
#include "runtime/kernels/gemm.h"
#include "runtime/kernels/lanes.h"
#include "runtime/kernels/quantized.h"
#include <math.h>
#include <string.h>
#include <strings.h>

enum { FUNCTIONS = 3, STATES = 2 }; /* f, g, h; H, C */

typedef struct recurrence {
	const struct cell *cell;
	int64_t steps, batch, inputs, hidden, rows; /* rows: gates * hidden */
	int directions;
	bool backwards; /* of the first direction; a second one always is */
	bool batch_first, linear_before_reset, input_forget;
	bool rounds;     /* left operands of products are quantised */
	bool transposed; /* gates lie along the columns of W and R */
	double clip;     /* INFINITY: none */
	pai_cell_function functions[2][FUNCTIONS];
	const double *x, *w, *r, *b, *p; /* b, p NULL: none */
	int64_t *lengths;                /* [batch] */
	double *xw;                      /* [steps * batch, rows]: x W + Wb */
	double *hr;                      /* [batch, rows]: h R + Rb */
	double *state[STATES];           /* [batch, hidden] each */
	double *other;                   /* [batch, hidden]: r * h of GRU */
	double *rounded, *gemm;
	/* of the direction under way */
	int direction;
	bool reverse;
} recurrence;

typedef struct cell {
	int gates, functions, states;
	const char *defaults[FUNCTIONS];
	bool quantized;
	void (*step)(recurrence *r, int64_t s); /* from hr's operands to new states */
} cell;

/* ---- attributes ---- */

/* alpha and beta hold values for those functions that take some, in their order. */
static pai_status read_functions(pai_call *c, recurrence *r)
{
	const pai_attr *given = pai_node_attr(c->node, "activations");
	const float *alpha = NULL, *beta = NULL;
	int n_alpha = pai_node_floats(c->node, "activation_alpha", &alpha);
	int n_beta = pai_node_floats(c->node, "activation_beta", &beta);
	int all = r->cell->functions * r->directions, a = 0, b = 0;
	if (given && (given->type != PAI_ATTR_STRINGS || given->list.n == 0))
		given = NULL;
	if (given && given->list.n < all)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_attr(c->node, "activations"),
				"has %lld names, needs %d", (long long)given->list.n, all);
	for (int i = 0; i < all; i++) {
		const char *name =
			given ? given->list.s[i].at : r->cell->defaults[i % r->cell->functions];
		const pai_cell_function_row *k = pai_cell_function_find(name);
		if (!k)
			return pai_fail(c->ctx, PAI_E_bad_input,
					pai_at_attr(c->node, "activations"),
					"\"%s\" is no activation of recurrent layers",
					pai_escape(c->node->graph->model->arena, name));
		pai_cell_function *f =
			&r->functions[i / r->cell->functions][i % r->cell->functions];
		*f = k->function;
		if (k->parameters > 0 && a < n_alpha)
			f->alpha = (double)alpha[a++];
		if (k->parameters > 1 && b < n_beta)
			f->beta = (double)beta[b++];
	}
	return PAI_OK;
}

/* f, g or h of a pre-activation. */
static double apply(const recurrence *r, int which, double x)
{
	const pai_cell_function *f = &r->functions[r->direction][which];
	x = x > r->clip ? r->clip : x < -r->clip ? -r->clip : x;
	return f->fn(x, f->alpha, f->beta);
}

/* ---- operands ---- */

static pai_status bad_shape(pai_call *c, int slot, const char *need)
{
	return pai_fail(c->ctx, PAI_E_runtime_shape, pai_at_input(c->node, slot),
			"does not have the shape %s that belongs to the other inputs", need);
}

static const pai_tensor *input(const pai_call *c, int slot)
{
	return slot < c->n_in ? c->in[slot] : NULL;
}

/* Contents of an optional input of these sizes as double; NULL where it is omitted. */
static pai_status values(pai_call *c, int slot, int rank, const int64_t *dims, const char *need,
			 const double **out)
{
	const pai_tensor *t = input(c, slot);
	bool fits = !t || (t->rank == rank && pai_lane_of(t->dtype) != PAI_LANE_NONE);
	for (int i = 0; t && fits && i < rank; i++)
		fits = t->dims[i] == dims[i];
	*out = NULL;
	if (!fits)
		return bad_shape(c, slot, need);
	if (t && !(*out = pai_lane_view(c, PAI_LANE_F64, t)))
		return pai_call_nomem(c);
	return PAI_OK;
}

static pai_status read_direction(pai_call *c, recurrence *r)
{
	/* "foward" is the default that the first version of GRU states */
	static const char *const names[] = {"forward", "foward", "reverse", "bidirectional"};
	const char *given = pai_node_string(c->node, "direction", "forward");
	for (int i = 0; i < 4; i++)
		if (strcasecmp(given, names[i]) == 0) {
			r->directions = i == 3 ? 2 : 1;
			r->backwards = i == 2;
			return PAI_OK;
		}
	return pai_fail(c->ctx, PAI_E_bad_input, pai_at_attr(c->node, "direction"),
			"is none of forward, reverse, bidirectional");
}

static pai_status read_lengths(pai_call *c, recurrence *r)
{
	const pai_tensor *t = input(c, 4);
	void *room = NULL;
	PAI_TRY(pai_call_room(c, r->batch, sizeof(int64_t), &room));
	r->lengths = room;
	if (t && (t->dtype != PAI_INT32 || t->rank != 1 || t->dims[0] != r->batch))
		return bad_shape(c, 4, "int32[batch]");
	for (int64_t i = 0; i < r->batch; i++) {
		r->lengths[i] = t ? pai_tensor_get_int(t, i) : r->steps;
		if (r->lengths[i] < 0 || r->lengths[i] > r->steps)
			return pai_fail(c->ctx, PAI_E_bad_index, pai_at_input(c->node, 4),
					"element %lld is %lld; the sequence has %lld steps",
					(long long)i, (long long)r->lengths[i],
					(long long)r->steps);
	}
	return PAI_OK;
}

/* Sizes from X and R, and every attribute. */
static pai_status read_node(pai_call *c, recurrence *r)
{
	const pai_tensor *x = c->in[0], *w = c->in[2];
	const pai_attr *clip = pai_node_attr(c->node, "clip");
	if (x->rank != 3 || pai_lane_of(x->dtype) == PAI_LANE_NONE)
		return bad_shape(c, 0, "[steps, batch, inputs]");
	if (w->rank != 3)
		return bad_shape(c, 2, "[directions, gates * hidden, hidden]");
	PAI_TRY(read_direction(c, r));
	r->batch_first = pai_node_int(c->node, "layout", 0) != 0;
	r->linear_before_reset = pai_node_int(c->node, "linear_before_reset", 0) != 0;
	r->input_forget = pai_node_int(c->node, "input_forget", 0) != 0;
	r->clip = clip && clip->f > 0 ? (double)clip->f : INFINITY;
	r->steps = x->dims[r->batch_first];
	r->batch = x->dims[!r->batch_first];
	r->inputs = x->dims[2];
	r->hidden = w->dims[r->transposed ? 1 : 2];
	int64_t stated = pai_node_int(c->node, "hidden_size", r->hidden);
	if (stated != r->hidden || __builtin_mul_overflow(r->cell->gates, r->hidden, &r->rows))
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_attr(c->node, "hidden_size"),
				"is %lld, the recurrent weight has %lld", (long long)stated,
				(long long)r->hidden);
	PAI_TRY(read_lengths(c, r));
	return read_functions(c, r);
}

/* X, W, R; weights that are quantised come as double already. */
static pai_status read_operands(pai_call *c, recurrence *r)
{
	const int64_t d = r->directions, rows = r->rows;
	const int64_t w[] = {d, rows, r->inputs}, h[] = {d, rows, r->hidden};
	const int64_t b[] = {d, 2 * rows}, p[] = {d, 3 * r->hidden};
	PAI_TRY(values(c, 0, 3, c->in[0]->dims, "", &r->x));
	if (!r->cell->quantized) {
		PAI_TRY(values(c, 1, 3, w, "[directions, gates * hidden, inputs]", &r->w));
		PAI_TRY(values(c, 2, 3, h, "[directions, gates * hidden, hidden]", &r->r));
	}
	PAI_TRY(values(c, 3, 2, b, "[directions, 2 * gates * hidden]", &r->b));
	if (r->cell->states > 1)
		PAI_TRY(values(c, 7, 2, p, "[directions, 3 * hidden]", &r->p));
	return PAI_OK;
}

static pai_status take_room(pai_call *c, recurrence *r)
{
	int64_t samples, xw, rows = r->batch, longest;
	size_t first, second;
	const int64_t most = INT64_MAX / 64;
	bool fits = !__builtin_mul_overflow(r->steps, r->batch, &samples) &&
		    !__builtin_mul_overflow(samples, r->rows, &xw) && xw < most;
	longest = fits && samples * r->inputs > rows * r->hidden ? samples * r->inputs
								 : rows * r->hidden;
	fits = fits && pai_gemm_scratch(PAI_DOUBLE, samples, r->inputs, &first) &&
	       pai_gemm_scratch(PAI_DOUBLE, rows, r->hidden, &second);
	if (!fits)
		return pai_fail(c->ctx, PAI_E_runtime_shape, pai_at_node(c->node),
				"has sizes beyond all limits");
	const struct {
		int64_t n;
		double **to;
	} rooms[] = {{xw, &r->xw},
		     {r->batch * r->rows, &r->hr},
		     {r->batch * r->hidden, &r->state[0]},
		     {r->batch * r->hidden, &r->state[1]},
		     {r->batch * r->hidden, &r->other},
		     {r->rounds ? longest : 0, &r->rounded},
		     {(int64_t)((first > second ? first : second) / sizeof(double)), &r->gemm}};
	for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++) {
		void *room = NULL;
		PAI_TRY(pai_call_room(c, rooms[i].n + 1, sizeof(double), &room));
		*rooms[i].to = room;
	}
	memset(r->other, 0, sizeof(double) * (size_t)(r->batch * r->hidden));
	return PAI_OK;
}

/* ---- the loop ---- */

/* As DynamicQuantizeLinear and back: 8 bits over the range of all n values, which includes 0. */
static const double *round_to_8_bits(const recurrence *r, const double *x, int64_t n)
{
	float low = 0, high = 0;
	for (int64_t i = 0; i < n; i++) {
		low = fminf(low, (float)x[i]);
		high = fmaxf(high, (float)x[i]);
	}
	pai_byte_range range = pai_byte_range_of(low, high);
	for (int64_t i = 0; i < n; i++)
		r->rounded[i] =
			(double)((pai_byte_of(range, (float)x[i]) - range.zero) * range.scale);
	return r->rounded;
}

/* out [m, count] = left [m, k] times the weights of rows [first, first + count), plus a bias. */
static void product(const recurrence *r, const double *left, int64_t m, const double *weights,
		    int64_t k, int64_t first, int64_t count, const double *bias, double *out)
{
	const double *w = weights + r->direction * r->rows * k;
	pai_matrix b = r->transposed ? (pai_matrix){w + first, r->rows, 1}
				     : (pai_matrix){w + first * k, 1, k};
	if (r->rounds)
		left = round_to_8_bits(r, left, m * k);
	pai_gemm(PAI_DOUBLE, m, count, k, (pai_matrix){left, k, 1}, b, out, r->rows, false,
		 r->gemm);
	for (int64_t i = 0; bias && i < m; i++)
		for (int64_t j = 0; j < count; j++)
			out[i * r->rows + j] += bias[first + j];
}

/* hr of some rows from the states, or from what GRU has in their place. */
static void product_h(const recurrence *r, const double *left, int64_t first, int64_t count)
{
	const double *bias = r->b ? r->b + (r->direction * 2 + 1) * r->rows : NULL;
	product(r, left, r->batch, r->r, r->hidden, first, count, bias, r->hr + first);
}

/* The time that sample b is at in step s; -1: it has ended. */
static int64_t time_of(const recurrence *r, int64_t s, int64_t b)
{
	if (s >= r->lengths[b])
		return -1;
	return r->reverse ? r->lengths[b] - 1 - s : s;
}

/* What a cell reads of sample b in step s: x W; NULL: the sample has ended. */
static const double *gates_of(const recurrence *r, int64_t s, int64_t b)
{
	int64_t t = time_of(r, s, b);
	if (t < 0)
		return NULL;
	return r->xw + (r->batch_first ? b * r->steps + t : t * r->batch + b) * r->rows;
}

/* H = f(x W + h R + Wb + Rb) */
static void rnn_step(recurrence *r, int64_t s)
{
	product_h(r, r->state[0], 0, r->rows);
	for (int64_t b = 0; b < r->batch; b++) {
		const double *x = gates_of(r, s, b), *g = r->hr + b * r->rows;
		for (int64_t j = 0; x && j < r->hidden; j++)
			r->state[0][b * r->hidden + j] = apply(r, 0, x[j] + g[j]);
	}
}

/* z = f(x Wz + h Rz), r = f(x Wr + h Rr), n = g(x Wh + (r h) Rh), or g(x Wh + r (h Rh)) where
 * linear_before_reset is set, H = (1 - z) n + z h; each with its biases */
static void gru_step(recurrence *r, int64_t s)
{
	const int64_t n = r->hidden;
	const bool linear = r->linear_before_reset;
	product_h(r, r->state[0], 0, linear ? 3 * n : 2 * n);
	for (int64_t b = 0; b < r->batch; b++) {
		const double *x = gates_of(r, s, b), *h = r->state[0] + b * n;
		double *g = r->hr + b * r->rows;
		for (int64_t j = 0; x && j < n; j++) {
			double reset = apply(r, 0, x[n + j] + g[n + j]);
			g[j] = apply(r, 0, x[j] + g[j]);
			if (linear)
				g[2 * n + j] *= reset;
			else
				r->other[b * n + j] = reset * h[j];
		}
	}
	if (!linear)
		product_h(r, r->other, 2 * n, n);
	for (int64_t b = 0; b < r->batch; b++) {
		const double *x = gates_of(r, s, b), *g = r->hr + b * r->rows;
		double *h = r->state[0] + b * n;
		for (int64_t j = 0; x && j < n; j++) {
			double now = apply(r, 1, x[2 * n + j] + g[2 * n + j]);
			h[j] = (1 - g[j]) * now + g[j] * h[j];
		}
	}
}

/* Gates i, o, f, c. i = f(x Wi + h Ri + Pi C), f likewise or 1 - i, C' = f C + i g(x Wc + h Rc),
 * o = f(x Wo + h Ro + Po C'), H = o h(C') */
static void lstm_step(recurrence *r, int64_t s)
{
	const int64_t n = r->hidden;
	product_h(r, r->state[0], 0, r->rows);
	for (int64_t b = 0; b < r->batch; b++) {
		const double *x = gates_of(r, s, b), *g = r->hr + b * r->rows;
		const double *p = r->p ? r->p + r->direction * 3 * n : NULL;
		double *h = r->state[0] + b * n, *c = r->state[1] + b * n;
		for (int64_t j = 0; x && j < n; j++) {
			double pi = p ? p[j] * c[j] : 0, pf = p ? p[2 * n + j] * c[j] : 0;
			double in = apply(r, 0, x[j] + g[j] + pi), forget = 1 - in;
			if (!r->input_forget)
				forget = apply(r, 0, x[2 * n + j] + g[2 * n + j] + pf);
			c[j] = forget * c[j] + in * apply(r, 1, x[3 * n + j] + g[3 * n + j]);
			double po = p ? p[n + j] * c[j] : 0;
			double out = apply(r, 0, x[n + j] + g[n + j] + po);
			const pai_cell_function *last = &r->functions[r->direction][2];
			h[j] = out * last->fn(c[j], last->alpha, last->beta);
		}
	}
}

/* H of all samples into Y: [steps, directions, batch, H], or [batch, steps, directions, H] */
static void give_step(pai_call *c, const recurrence *r, int64_t s, const double *zeros)
{
	pai_tensor *y = c->out[0];
	const int64_t d = r->directions;
	for (int64_t b = 0; y && b < r->batch; b++) {
		int64_t t = time_of(r, s, b);
		const double *h = t < 0 ? zeros : r->state[0] + b * r->hidden;
		t = t < 0 ? s : t;
		int64_t at = r->batch_first ? (b * r->steps + t) * d + r->direction
					    : (t * d + r->direction) * r->batch + b;
		pai_lane_store(PAI_LANE_F64, h, y->dtype, y->data, at * r->hidden, r->hidden);
	}
}

/* Sample b of [directions, batch, H], or [batch, directions, H] */
static int64_t state_at(const recurrence *r, int64_t b)
{
	int64_t at =
		r->batch_first ? b * r->directions + r->direction : r->direction * r->batch + b;
	return at * r->hidden;
}

static void run_direction(pai_call *c, recurrence *r, const double *const *initial,
			  const double *zeros)
{
	const double *bias = r->b ? r->b + r->direction * 2 * r->rows : NULL;
	const size_t row = sizeof(double) * (size_t)r->hidden;
	product(r, r->x, r->steps * r->batch, r->w, r->inputs, 0, r->rows, bias, r->xw);
	for (int k = 0; k < r->cell->states; k++)
		for (int64_t b = 0; b < r->batch; b++)
			pai_copy(r->state[k] + b * r->hidden,
				 initial[k] ? initial[k] + state_at(r, b) : zeros, row);
	for (int64_t s = 0; s < r->steps && r->batch * r->hidden > 0; s++) {
		r->cell->step(r, s);
		give_step(c, r, s, zeros);
	}
	for (int k = 0; k < r->cell->states; k++)
		for (int64_t b = 0; k + 1 < c->n_out && c->out[k + 1] && b < r->batch; b++)
			pai_lane_store(PAI_LANE_F64, r->state[k] + b * r->hidden,
				       c->out[k + 1]->dtype, c->out[k + 1]->data, state_at(r, b),
				       r->hidden);
}

static pai_status give_outputs(pai_call *c, const recurrence *r)
{
	const int64_t d = r->directions, s = r->steps, b = r->batch, h = r->hidden;
	const int64_t all[] = {s, d, b, h}, all_first[] = {b, s, d, h};
	const int64_t last[] = {d, b, h}, last_first[] = {b, d, h};
	PAI_TRY(pai_call_output(c, 0, c->in[0]->dtype, 4, r->batch_first ? all_first : all));
	for (int o = 1; o < c->n_out && o <= r->cell->states; o++)
		PAI_TRY(pai_call_output(c, o, c->in[0]->dtype, 3,
					r->batch_first ? last_first : last));
	return PAI_OK;
}

static pai_status run_all(pai_call *c, recurrence *r)
{
	const double *initial[STATES] = {NULL};
	const int64_t d = r->directions, b = r->batch, h = r->hidden;
	const int64_t dims[] = {r->batch_first ? b : d, r->batch_first ? d : b, h};
	void *zeros = NULL;
	PAI_TRY(read_operands(c, r));
	for (int k = 0; k < r->cell->states; k++)
		PAI_TRY(values(c, 5 + k, 3, dims, "of the last states", &initial[k]));
	PAI_TRY(give_outputs(c, r));
	PAI_TRY(take_room(c, r));
	PAI_TRY(pai_call_room(c, h, sizeof(double), &zeros));
	memset(zeros, 0, sizeof(double) * (size_t)h);
	for (r->direction = 0; r->direction < r->directions; r->direction++) {
		r->reverse = r->direction ? true : r->backwards;
		run_direction(c, r, initial, zeros);
	}
	return PAI_OK;
}

static pai_status recurrent(pai_call *c)
{
	recurrence r = {.cell = c->kernel->data};
	PAI_TRY(read_node(c, &r));
	return run_all(c, &r);
}

/* Products with W and R for every sample and step, and some 30 for each gate's function. */
static double recurrent_work(const pai_node *n, const pai_tensor *const *in,
			     const pai_tensor *const *out)
{
	(void)n, (void)out;
	const pai_tensor *x = in[0], *r = in[2];
	if (!x || x->rank != 3 || !r || r->rank != 3)
		return 0;
	double samples = (double)x->dims[0] * (double)x->dims[1];
	double gates =
		(double)r->dims[0] * (double)(r->dims[1] > r->dims[2] ? r->dims[1] : r->dims[2]);
	return samples * (pai_elements(in[1]) + pai_elements(r) + 30 * gates);
}

#define RECURRENT(name, ...)                   \
	const pai_kernel pai_kernel_##name = { \
		.run = recurrent, .data = &(const cell){__VA_ARGS__}, .work = recurrent_work};
RECURRENT(rnn, .gates = 1, .functions = 1, .states = 1, .defaults = {"Tanh"}, .step = rnn_step)
RECURRENT(gru, .gates = 3, .functions = 2, .states = 1, .defaults = {"Sigmoid", "Tanh"},
	  .step = gru_step)
RECURRENT(lstm, .gates = 4, .functions = 3, .states = 2, .defaults = {"Sigmoid", "Tanh", "Tanh"},
	  .step = lstm_step)

/* ---- DynamicQuantizeLSTM of com.microsoft ---- */

/* (q - zero) * scale, with one scale a direction or one for each column of it, gates along columns:
 * [directions, inputs, rows]. The inputs that hold scale and zero point stand at `at`. */
static pai_status dequantize(pai_call *c, const recurrence *r, int slot, int at, int64_t inputs,
			     const double **out)
{
	const pai_tensor *q = c->in[slot], *s = input(c, at), *z = input(c, at + 1);
	const int64_t dims[] = {r->directions, inputs, r->rows}, n = s ? pai_tensor_nelem(s) : 0;
	const double *w, *scale, *zero;
	void *room = NULL;
	PAI_TRY(values(c, slot, 3, dims, "[directions, inputs, 4 * hidden]", &w));
	if (!s || !z || pai_tensor_nelem(z) != n ||
	    (n != r->directions && n != r->directions * r->rows))
		return bad_shape(c, at, "[directions] or [directions, 4 * hidden]");
	PAI_TRY(values(c, at, s->rank, s->dims, "", &scale));
	PAI_TRY(values(c, at + 1, z->rank, z->dims, "", &zero));
	PAI_TRY(pai_call_room(c, pai_tensor_nelem(q), sizeof(double), &room));
	double *to = room;
	for (int64_t i = 0, all = pai_tensor_nelem(q); i < all; i++) {
		int64_t d = i / (inputs * r->rows);
		int64_t k = n == r->directions ? d : d * r->rows + i % r->rows;
		to[i] = (w[i] - zero[k]) * scale[k];
	}
	*out = to;
	return PAI_OK;
}

static pai_status dynamic_quantize_lstm(pai_call *c)
{
	recurrence r = {.cell = c->kernel->data, .transposed = true, .rounds = true};
	PAI_TRY(read_node(c, &r));
	PAI_TRY(dequantize(c, &r, 1, 8, r.inputs, &r.w));
	PAI_TRY(dequantize(c, &r, 2, 10, r.hidden, &r.r));
	return run_all(c, &r);
}

const pai_kernel pai_kernel_dynamic_quantize_lstm = {
	.run = dynamic_quantize_lstm,
	.data = &(const cell){.gates = 4,
			      .functions = 3,
			      .states = 2,
			      .defaults = {"Sigmoid", "Tanh", "Tanh"},
			      .quantized = true,
			      .step = lstm_step},
	.work = recurrent_work};
