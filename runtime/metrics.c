/* metrics.c -- the table of scores that validation takes. */
#include "runtime/runtime.h"
#include <string.h>

#define METRIC(x) extern const pai_metric pai_metric_##x;
#include "runtime/metrics.def"
#undef METRIC

static const pai_metric *const metrics[] = {
#define METRIC(x) &pai_metric_##x,
#include "runtime/metrics.def"
#undef METRIC
	NULL,
};

const pai_metric *pai_metric_get(int i)
{
	return i >= 0 && i < (int)(sizeof metrics / sizeof metrics[0]) ? metrics[i] : NULL;
}

const pai_metric *pai_metric_find(const char *name)
{
	for (int i = 0; metrics[i]; i++)
		if (strcmp(metrics[i]->name, name) == 0)
			return metrics[i];
	return NULL;
}

bool pai_metric_applies(const pai_metric *m, const pai_loss *loss)
{
	return m->of == PAI_ANY_LABELS || (m->of == PAI_CLASSES) == loss->integer_labels;
}
