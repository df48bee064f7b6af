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

double pai_elements(const pai_tensor *t)
{
	double n = t && t->rank >= 0 ? 1 : 0;
	for (int i = 0; t && i < t->rank; i++)
		n *= t->dims[i] > 0 ? (double)t->dims[i] : 0;
	return n;
}

/* What loops over the sizes of a tensor that has no elements may go through. */
static double empty_turns(const pai_tensor *t)
{
	double n = 1;
	bool empty = false;
	for (int i = 0; t && i < t->rank; i++) {
		empty |= t->dims[i] == 0;
		n *= t->dims[i] > 0 ? (double)t->dims[i] : 1;
	}
	return empty ? n : 0;
}

double pai_kernel_work(const pai_node *n, int n_in, const pai_tensor *const *in, int n_out,
		       const pai_tensor *const *out)
{
	const pai_tensor *x[PAI_WORK_OPERANDS] = {NULL}, *y[PAI_WORK_OPERANDS] = {NULL};
	const pai_kernel *k = n->op ? pai_op_kernel(n->op) : NULL;
	if (!k || !k->work)
		return 0;
	for (int i = 0; i < n_in && i < PAI_WORK_OPERANDS; i++)
		x[i] = in[i];
	for (int o = 0; o < n_out && o < PAI_WORK_OPERANDS; o++)
		y[o] = out[o];
	return k->work(n, x, y);
}

enum { STEP = 160, ELEMENT = 3, TURN = 30, FAST = 16 };

double pai_node_work(const pai_node *n, int n_in, const pai_tensor *const *in, int n_out,
		     const pai_tensor *const *out, bool fast)
{
	double all = 0, turns = 0;
	for (int i = 0; i < n_in; i++) {
		all += pai_elements(in[i]);
		turns += empty_turns(in[i]);
	}
	for (int o = 0; o < n_out; o++) {
		all += pai_elements(out[o]);
		turns += empty_turns(out[o]);
	}
	double inner = pai_kernel_work(n, n_in, in, n_out, out);
	return STEP + TURN * turns + (fast ? all / 2 + inner / FAST : all * ELEMENT + inner);
}
