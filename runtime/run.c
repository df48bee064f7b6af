/* run.c -- scratch memory of an execution and what kernels may ask their executor for. */
#include "runtime/run.h"
#include <assert.h>

enum { ALIGN = 64, SMALLEST = 1 << 16 };

struct pai_block {
	pai_block *below;
	void *base;               /* as the allocator gave it */
	size_t whole, size, used; /* whole: with this head */
	uint8_t *at;
};

static pai_block *block_new(pai_run *r, size_t size)
{
	const pai_allocator *m = r->ctx->allocator;
	size_t whole;
	r->refused = false;
	if (!pai_size_add(size, sizeof(pai_block) + 2 * ALIGN, &whole))
		return NULL;
	uint64_t most = pai_run_bytes(r->ctx);
	if (whole > most || r->ctx->run.bytes > most - whole) {
		r->refused = true; /* the kernel says so: pai_call_nomem */
		return NULL;
	}
	void *base = m->alloc(m->payload, whole);
	if (!base)
		return NULL;
	r->ctx->run.bytes += whole;
	uintptr_t head = ((uintptr_t)base + 15) / 16 * 16;
	pai_block *b = (pai_block *)head;
	uintptr_t at = (head + sizeof *b + ALIGN - 1) / ALIGN * ALIGN;
	*b = (pai_block){
		.below = r->block, .base = base, .whole = whole, .size = size, .at = (uint8_t *)at};
	r->block = b;
	return b;
}

static void block_drop(pai_run *r)
{
	pai_block *b = r->block;
	r->block = b->below;
	pai_budget_give(r->ctx, b->whole);
	r->ctx->allocator->free(r->ctx->allocator->payload, b->base);
}

pai_mark pai_run_mark(const pai_run *r)
{
	return (pai_mark){r->block, r->block ? r->block->used : 0};
}

void pai_run_release(pai_run *r, pai_mark to)
{
	/* An empty stack keeps its block; several are replaced by one large enough next time. */
	if (!to.block && r->block && !r->block->below) {
		r->block->used = 0;
		return;
	}
	size_t total = 0;
	while (r->block != to.block) {
		total += r->block->size;
		block_drop(r);
	}
	if (total > r->want)
		r->want = total;
	if (r->block)
		r->block->used = to.used;
}

void *pai_run_scratch(pai_run *r, size_t nbytes)
{
	size_t n;
	if (!pai_size_add(nbytes, ALIGN - 1, &n))
		return NULL;
	n = n / ALIGN * ALIGN;
	pai_block *b = r->block;
	if (!b || n > b->size - b->used) {
		size_t size = n < SMALLEST ? SMALLEST : n;
		b = block_new(r, size < r->want ? r->want : size);
		if (!b && r->want > size)
			b = block_new(r, size);
		if (!b)
			return NULL;
	}
	void *p = b->at + b->used;
	b->used += n;
	return p;
}

const char *pai_run_string(pai_run *r, const char *text, size_t n)
{
	if (!r->strings)
		r->strings = pai_arena_new(r->ctx);
	return pai_arena_strndup(r->strings, text, n);
}

void pai_run_free(pai_run *r)
{
	pai_arena_free(r->strings);
	r->strings = NULL;
	while (r->block)
		block_drop(r);
}

void *pai_call_scratch(pai_call *c, size_t nbytes)
{
	return pai_run_scratch(c->run, nbytes);
}

pai_status pai_call_nomem(const pai_call *c)
{
	if (c->run->refused)
		return pai_fail(c->ctx, PAI_E_run_memory, pai_at_node(c->node),
				"its intermediate results need more than the %llu bytes that a "
				"run may hold (run_bytes)",
				(unsigned long long)pai_run_bytes(c->ctx));
	return pai_fail(c->ctx, PAI_E_memory, pai_at_node(c->node),
			"no memory for its intermediate results");
}

pai_status pai_call_output(pai_call *c, int o, pai_dtype dtype, int rank, const int64_t *dims)
{
	assert(o >= 0 && o < c->n_out);
	const pai_tensor *t = c->out[o];
	if (!t)
		return PAI_OK;
	if (t->rank < 0)
		return c->run->output(c, o, dtype, rank, dims);
	const pai_tensor asked = {.rank = rank, .dims = (int64_t *)dims};
	if (t->dtype == dtype && pai_same_shape(t, &asked))
		return PAI_OK;
	return pai_fail(c->ctx, PAI_E_runtime_shape, pai_at_output(c->node, o),
			"differs in type or shape from what the operator's shape rule says");
}

pai_status pai_call_subgraph(pai_call *c, const pai_graph *g, int n_in, const pai_tensor *const *in,
			     int n_out, pai_tensor *out)
{
	if (!c->run->subgraph)
		return pai_fail(c->ctx, PAI_E_no_kernel, pai_at_node(c->node),
				"a node with subgraphs cannot be evaluated on its own");
	return c->run->subgraph(c, g, n_in, in, n_out, out);
}
