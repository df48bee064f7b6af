/* optimizers.c -- the table of optimisers. */
#include "runtime/runtime.h"

#define OPTIMIZER(x) extern const pai_optimizer pai_optimizer_##x;
#include "runtime/optimizers.def"
#undef OPTIMIZER

static const pai_optimizer *const optimizers[] = {
#define OPTIMIZER(x) &pai_optimizer_##x,
#include "runtime/optimizers.def"
#undef OPTIMIZER
	NULL,
};

const pai_table pai_optimizer_table = PAI_TABLE_OF_POINTERS(optimizers);

const pai_optimizer *pai_optimizer_get(int i)
{
	return pai_table_get(pai_optimizer_table, i);
}

const pai_optimizer *pai_optimizer_find(const char *name)
{
	return pai_table_find(pai_optimizer_table, name);
}
