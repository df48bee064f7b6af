/* optimizers.c -- the table of optimisers. */
#include "runtime/runtime.h"
#include <string.h>

#define OPTIMIZER(x) extern const pai_optimizer pai_optimizer_##x;
#include "runtime/optimizers.def"
#undef OPTIMIZER

static const pai_optimizer *const optimizers[] = {
#define OPTIMIZER(x) &pai_optimizer_##x,
#include "runtime/optimizers.def"
#undef OPTIMIZER
	NULL,
};

const pai_optimizer *pai_optimizer_get(int i)
{
	return i >= 0 && i < (int)(sizeof optimizers / sizeof optimizers[0]) ? optimizers[i] : NULL;
}

const pai_optimizer *pai_optimizer_find(const char *name)
{
	for (int i = 0; optimizers[i]; i++)
		if (strcmp(optimizers[i]->name, name) == 0)
			return optimizers[i];
	return NULL;
}
