/* metrics.c -- the table of scores that validation takes. */
#include "runtime/runtime.h"

#define METRIC(x) extern const pai_metric pai_metric_##x;
#include "runtime/metrics.def"
#undef METRIC

static const pai_metric *const metrics[] = {
#define METRIC(x) &pai_metric_##x,
#include "runtime/metrics.def"
#undef METRIC
	NULL,
};

const pai_table pai_metric_table = PAI_TABLE_OF_POINTERS(metrics);

const pai_metric *pai_metric_get(int i)
{
	return pai_table_get(pai_metric_table, i);
}

const pai_metric *pai_metric_find(const char *name)
{
	return pai_table_find(pai_metric_table, name);
}

bool pai_metric_applies(const pai_metric *m, const pai_loss *loss)
{
	return m->of == PAI_ANY_LABELS || (m->of == PAI_CLASSES) == loss->integer_labels;
}
