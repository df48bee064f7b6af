/* losses.c -- the table of losses. */
#include "runtime/runtime.h"

#define LOSS(x) extern const pai_loss pai_loss_##x;
#include "runtime/losses.def"
#undef LOSS

static const pai_loss *const losses[] = {
#define LOSS(x) &pai_loss_##x,
#include "runtime/losses.def"
#undef LOSS
	NULL,
};

const pai_table pai_loss_table = PAI_TABLE_OF_POINTERS(losses);

const pai_loss *pai_loss_get(int i)
{
	return pai_table_get(pai_loss_table, i);
}

const pai_loss *pai_loss_find(const char *name)
{
	return pai_table_find(pai_loss_table, name);
}
