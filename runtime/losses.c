/* losses.c -- the table of losses. */
#include "runtime/runtime.h"
#include <string.h>

#define LOSS(x) extern const pai_loss pai_loss_##x;
#include "runtime/losses.def"
#undef LOSS

static const pai_loss *const losses[] = {
#define LOSS(x) &pai_loss_##x,
#include "runtime/losses.def"
#undef LOSS
	NULL,
};

const pai_loss *pai_loss_get(int i)
{
	return i >= 0 && i < (int)(sizeof losses / sizeof losses[0]) ? losses[i] : NULL;
}

const pai_loss *pai_loss_find(const char *name)
{
	for (int i = 0; losses[i]; i++)
		if (strcmp(losses[i]->name, name) == 0)
			return losses[i];
	return NULL;
}
