/* library.c -- shared libraries that are opened when they are needed: a program that starts pays
 * the loader for each library it is linked with, some more than all else it does on a small model.
 */
#include "runtime/library.h"
#include <dlfcn.h>
#include <string.h>

bool pai_library_function(const char *name, const char *function, void *out)
{
	void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
	void *at = library ? dlsym(library, function) : NULL;
	memcpy(out, &at, sizeof at);
	return at != NULL;
}

pai_status pai_library_open(pai_ctx *ctx, const char *name, int n, const pai_symbol *symbols,
			    void *table)
{
	void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
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
