/* budget.c -- what a run may take: bytes at one time, and arithmetic in all.
 *
 * A file of a hundred bytes can ask for any amount of both, so what is allowed grows with what was
 * read: an honest model's tensors and arithmetic are in proportion to its weights and inputs. The
 * work of a node is an estimate from its shapes, in about a nanosecond of one core. A plan whose
 * shapes are known is charged once for all its nodes each time it runs, so that this costs nothing
 * per node; bodies of loops are plans, and are charged each time. What one budget covers is marked
 * by a scope: a run, or all runs of a check. Time is not measured: what is refused here is refused
 * everywhere.
 */
#include "runtime/plan.h"
#include <inttypes.h>
#include <string.h>

typedef struct allowance { /* where no limit is set */
	uint64_t base, per_byte, most;
} allowance;

static const allowance bytes_allowed = {96 << 20, 512, (uint64_t)8 << 30};
static const allowance work_allowed = {1000000000, 20000, UINT64_MAX};

static uint64_t limit_of(const pai_ctx *ctx, uint64_t given, const allowance *a)
{
	if (given)
		return given;
	bool all = ctx->bytes_read > (a->most - a->base) / a->per_byte;
	return all ? a->most : a->base + a->per_byte * ctx->bytes_read;
}

uint64_t pai_run_bytes(const pai_ctx *ctx)
{
	return limit_of(ctx, ctx->limits.run_bytes, &bytes_allowed);
}

static uint64_t run_work(const pai_ctx *ctx)
{
	return limit_of(ctx, ctx->limits.run_work, &work_allowed);
}

void pai_budget_begin(pai_ctx *ctx)
{
	if (ctx->run.scopes++ == 0)
		ctx->run.work = 0;
}

void pai_budget_end(pai_ctx *ctx)
{
	ctx->run.scopes--;
}

pai_status pai_budget_take(pai_ctx *ctx, pai_where at, size_t nbytes)
{
	uint64_t most = pai_run_bytes(ctx);
	if (nbytes > most || ctx->run.bytes > most - nbytes)
		return pai_fail(ctx, PAI_E_run_memory, at,
				"the run needs %" PRIu64 " bytes, allowed are %" PRIu64
				" (run_bytes)",
				ctx->run.bytes + nbytes, most);
	ctx->run.bytes += nbytes;
	return PAI_OK;
}

void pai_budget_give(pai_ctx *ctx, size_t nbytes)
{
	ctx->run.bytes -= nbytes;
}

pai_status pai_budget_work(pai_ctx *ctx, pai_where at, double work)
{
	uint64_t most = run_work(ctx);
	uint64_t n = work < 1e18 ? (uint64_t)work : (uint64_t)1e18;
	if (n <= most && ctx->run.work <= most - n) {
		ctx->run.work += n;
		return PAI_OK;
	}
	return pai_fail(ctx, PAI_E_run_work, at,
			"the run takes about %" PRIu64 " operations, allowed are %" PRIu64
			" (run_work)",
			ctx->run.work + n, most);
}

static double elements(const pai_tensor *t)
{
	double n = t && t->rank >= 0 ? 1 : 0;
	for (int i = 0; t && i < t->rank; i++)
		n *= t->dims[i] > 0 ? (double)t->dims[i] : 0;
	return n;
}

static double last_dim(const pai_tensor *t)
{
	return t && t->rank > 0 ? (double)t->dims[t->rank - 1] : 1;
}

static double per_first(const pai_tensor *t)
{
	return t && t->rank > 0 && t->dims[0] > 0 ? elements(t) / (double)t->dims[0] : 0;
}

static double product(const pai_node *n, const char *name)
{
	const int64_t *v;
	double all = 1;
	for (int i = pai_node_ints(n, name, &v) - 1; i >= 0; i--)
		all *= v[i] > 0 ? (double)v[i] : 1;
	return all;
}

/* Multiply-adds, or comparisons, beyond a fixed number for each element read or written. */
typedef double (*work_fn)(const pai_node *n, const pai_tensor *const *in,
			  const pai_tensor *const *out);

static double matmul_work(const pai_node *n, const pai_tensor *const *in,
			  const pai_tensor *const *out)
{
	bool across =
		in[0] && in[0]->rank == 2 && pai_node_is(n, "Gemm") && pai_node_int(n, "transA", 0);
	return elements(out[0]) * (across ? (double)in[0]->dims[0] : last_dim(in[0]));
}

static double conv_work(const pai_node *n, const pai_tensor *const *in,
			const pai_tensor *const *out)
{
	(void)n;
	return elements(out[0]) * per_first(in[1]);
}

static double qlinear_conv_work(const pai_node *n, const pai_tensor *const *in,
				const pai_tensor *const *out)
{
	(void)n;
	return elements(out[0]) * per_first(in[3]);
}

static double conv_transpose_work(const pai_node *n, const pai_tensor *const *in,
				  const pai_tensor *const *out)
{
	(void)n, (void)out;
	return elements(in[0]) * per_first(in[1]);
}

static double conv_grad_w_work(const pai_node *n, const pai_tensor *const *in,
			       const pai_tensor *const *out)
{
	(void)n;
	return elements(in[0]) * per_first(out[0]);
}

static double pool_work(const pai_node *n, const pai_tensor *const *in,
			const pai_tensor *const *out)
{
	bool gradient = strstr(n->op_type, "Grad") != NULL;
	return elements(gradient ? in[n->n_in > 2 ? 1 : 0] : out[0]) * product(n, "kernel_shape");
}

static double window_work(const pai_node *n, const pai_tensor *const *in,
			  const pai_tensor *const *out)
{
	(void)in;
	return elements(out[0]) * (double)pai_node_int(n, "size", 1);
}

static double sort_work(const pai_node *n, const pai_tensor *const *in,
			const pai_tensor *const *out)
{
	(void)n, (void)out;
	return 30 * elements(in[0]);
}

static double pairs_work(const pai_node *n, const pai_tensor *const *in,
			 const pai_tensor *const *out)
{
	(void)n, (void)out;
	return elements(in[0]) * elements(in[0]);
}

static double recurrent_work(const pai_node *n, const pai_tensor *const *in,
			     const pai_tensor *const *out)
{
	(void)n, (void)out;
	double steps =
		in[0] && in[0]->rank == 3 ? (double)in[0]->dims[0] * (double)in[0]->dims[1] : 1;
	return steps * (elements(in[1]) + elements(in[2]));
}

static double attention_work(const pai_node *n, const pai_tensor *const *in,
			     const pai_tensor *const *out)
{
	(void)n;
	double keys = in[1] && in[1]->rank > 1 ? (double)in[1]->dims[in[1]->rank - 2] : 1;
	return (elements(in[0]) + elements(out[0])) * keys;
}

/* Each label of the equation is a loop; the first operand that has it gives its length. */
static double einsum_work(const pai_node *n, const pai_tensor *const *in,
			  const pai_tensor *const *out)
{
	const char *s = pai_node_string(n, "equation", "");
	bool seen[128] = {false};
	double all = elements(out[0]);
	for (int i = 0, d = 0; *s && *s != '-' && i < n->n_in; s++) {
		if (*s == ',') {
			i++;
			d = 0;
			continue;
		}
		unsigned char c = (unsigned char)*s;
		if (!in[i] || c >= 128 || c <= ' ' || c == '.')
			continue;
		if (!seen[c] && d < in[i]->rank)
			all *= in[i]->dims[d] > 0 ? (double)in[i]->dims[d] : 1;
		seen[c] = true;
		d++;
	}
	return all;
}

static const struct work_row {
	const char *op;
	int inputs; /* that the function looks at */
	work_fn fn;
} rows[] = {
	{"Attention", 2, attention_work},
	{"AveragePool", 1, pool_work},
	{"AveragePoolGrad", 1, pool_work},
	{"Conv", 2, conv_work},
	{"ConvGradW", 2, conv_grad_w_work},
	{"ConvGradX", 2, conv_transpose_work},
	{"ConvInteger", 2, conv_work},
	{"ConvTranspose", 2, conv_transpose_work},
	{"DeformConv", 2, conv_work},
	{"Einsum", 1, einsum_work},
	{"GRU", 3, recurrent_work},
	{"Gemm", 2, matmul_work},
	{"LRN", 1, window_work},
	{"LSTM", 3, recurrent_work},
	{"LpPool", 1, pool_work},
	{"LpPoolGrad", 3, pool_work},
	{"MatMul", 2, matmul_work},
	{"MatMulInteger", 2, matmul_work},
	{"MaxPool", 1, pool_work},
	{"MaxPoolGrad", 3, pool_work},
	{"NonMaxSuppression", 1, pairs_work},
	{"QLinearConv", 4, qlinear_conv_work},
	{"QLinearMatMul", 2, matmul_work},
	{"RNN", 3, recurrent_work},
	{"TopK", 1, sort_work},
	{"Unique", 1, sort_work},
};

static double inner_work(const pai_node *n, int n_in, const pai_tensor *const *in, int n_out,
			 const pai_tensor *const *out)
{
	for (size_t i = 0; n_out > 0 && i < sizeof rows / sizeof *rows; i++)
		if (strcmp(rows[i].op, n->op_type) == 0 && n_in >= rows[i].inputs)
			return rows[i].fn(n, in, out);
	return 0;
}

enum { STEP = 100, ELEMENT = 3, FAST = 16 };

double pai_node_work(const pai_node *n, int n_in, const pai_tensor *const *in, int n_out,
		     const pai_tensor *const *out, bool fast)
{
	double all = 0;
	for (int i = 0; i < n_in; i++)
		all += elements(in[i]);
	for (int o = 0; o < n_out; o++)
		all += elements(out[o]);
	double inner = inner_work(n, n_in, in, n_out, out);
	return STEP + (fast ? all / 2 + inner / FAST : all * ELEMENT + inner);
}
