/* ctx.c -- making and freeing a context, with its defaults. */
#include "compiler/ctx.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void *system_alloc(void *payload, size_t nbytes)
{
	(void)payload;
	return malloc(nbytes);
}

static void system_free(void *payload, void *p)
{
	(void)payload;
	free(p);
}

static const pai_allocator system_allocator = {system_alloc, system_free, NULL};

/* One line by write(2), since stdio may itself need memory. */
static void report_and_exit(pai_ctx *ctx, size_t nbytes)
{
	static const char line[] = "pai-opt: error E0601: out of memory\n";
	(void)ctx, (void)nbytes;
	ssize_t written = write(STDERR_FILENO, line, sizeof line - 1);
	(void)written;
	_exit(PAI_NOMEM);
}

static const pai_limits default_limits = {
#define LIMIT(name, value, meaning) .name = value,
#include "compiler/limits.def"
#undef LIMIT
};

double pai_now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

pai_ctx *pai_ctx_new(const pai_allocator *allocator)
{
	if (!allocator)
		allocator = &system_allocator;
	pai_ctx *ctx = allocator->alloc(allocator->payload, sizeof *ctx);
	if (!ctx)
		return NULL;
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	*ctx = (pai_ctx){
		.allocator = allocator,
		.io = &pai_io_posix,
		.limits = default_limits,
		.threads = cpus > 0 ? (int)cpus : 1,
		.durable = true,
		.on_oom = report_and_exit,
	};
	pai_arena *arena = pai_arena_new(ctx);
	ctx->own = PAI_NEW(arena, struct pai_ctx_private);
	ctx->own->arena = arena;
	return ctx;
}

void pai_ctx_free(pai_ctx *ctx)
{
	if (!ctx)
		return;
	const pai_allocator *m = ctx->allocator;
	pai_arena_free(ctx->own->arena);
	m->free(m->payload, ctx);
}
