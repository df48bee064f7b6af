/* library.c -- shared libraries that are opened when they are needed: a program that starts pays
 * the loader for each library it is linked with, some more than all else it does on a small model.
 *
 * Initialisers of a library crash where memory ends, and OpenMP ends the process where it can make
 * no thread. So both are tried beforehand, by means that tell.
 */
#include "runtime/library.h"
#include <dlfcn.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

static bool has_room(size_t nbytes)
{
	void *at = mmap(NULL, nbytes, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (at == MAP_FAILED)
		return false;
	munmap(at, nbytes);
	return true;
}

enum { FLAGS = RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE };

static bool may_open(const char *name, size_t room)
{
	return dlopen(name, FLAGS | RTLD_NOLOAD) || has_room(room);
}

static void *open_library(pai_ctx *ctx, const char *name)
{
	if (ctx->on_library)
		ctx->on_library(ctx, name);
	return dlopen(name, FLAGS);
}

bool pai_library_function(pai_ctx *ctx, const char *name, size_t room, const char *function,
			  void *out)
{
	void *library = may_open(name, room) ? open_library(ctx, name) : NULL;
	void *at = library ? dlsym(library, function) : NULL;
	memcpy(out, &at, sizeof at);
	return at != NULL;
}

pai_status pai_library_open(pai_ctx *ctx, const char *name, size_t room, int n,
			    const pai_symbol *symbols, void *table)
{
	if (!may_open(name, room))
		return pai_fail(ctx, PAI_E_memory, pai_at_nothing(), "no %zu bytes to load %s",
				room, name);
	void *library = open_library(ctx, name);
	if (!library)
		return pai_fail(ctx, PAI_E_no_library, pai_at_nothing(), "%s", dlerror());
	for (int i = 0; i < n; i++) {
		void *at = dlsym(library, symbols[i].name);
		if (!at)
			return pai_fail(ctx, PAI_E_no_library, pai_at_nothing(),
					"%s has no function %s", name, symbols[i].name);
		memcpy((char *)table + symbols[i].at, &at, sizeof at);
	}
	return PAI_OK;
}

static void *pass_gate(void *gate)
{
	pthread_mutex_lock(gate);
	pthread_mutex_unlock(gate);
	return NULL;
}

/* Stacks of threads that have ended are kept by the C library, for those that OpenMP makes. */
int pai_threads_there(pai_ctx *ctx, int want)
{
	if (want <= ctx->threads_made)
		return want;
	pai_arena *a = pai_arena_new(ctx);
	pthread_t *made = PAI_NEWS(a, pthread_t, want);
	pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
	int n = 1;
	pthread_mutex_lock(&gate);
	while (n < want && pthread_create(&made[n], NULL, pass_gate, &gate) == 0)
		n++;
	pthread_mutex_unlock(&gate);
	for (int i = 1; i < n; i++)
		pthread_join(made[i], NULL);
	pthread_mutex_destroy(&gate);
	pai_arena_free(a);
	ctx->threads_made = n > ctx->threads_made ? n : ctx->threads_made;
	return n;
}
