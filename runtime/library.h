/* library.h -- what the process may or may not have: functions of a shared library that is opened
 * when needed, address space, threads; private to the runtime. */
#ifndef PAI_LIBRARY_H
#define PAI_LIBRARY_H

#include "compiler/compiler.h"
#include <stddef.h>

typedef struct pai_symbol {
	const char *name;
	size_t at; /* in the table of addresses */
} pai_symbol;

/* Fills a table (a struct of pointers to functions) with the addresses of the symbols. The library
 * stays open for good. NOMEM where there is no address space of `room` bytes: about what the
 * library takes with all it needs. */
PAI_MUST_USE pai_status pai_library_open(pai_ctx *ctx, const char *name, size_t room, int n,
					 const pai_symbol *symbols, void *table);
/* One function, quietly: false where library, room or function are not there. out: a pointer to it.
 */
bool pai_library_function(pai_ctx *ctx, const char *name, size_t room, const char *function,
			  void *out);
/* How many threads there can be at one time, this one included: at most `want`. */
int pai_threads_there(pai_ctx *ctx, int want);

#endif
