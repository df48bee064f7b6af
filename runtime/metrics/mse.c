/* mse.c -- mean of the squared differences of output and target, over all elements. */
#include "runtime/runtime.h"

static void add(pai_tally *t, const pai_tensor *output, const pai_tensor *labels, double loss)
{
	const int64_t n = pai_tensor_nelem(output);
	(void)loss;
	for (int64_t i = 0; i < n; i++) {
		double d = pai_tensor_get(output, i) - pai_tensor_get(labels, i);
		t->sum += d * d;
	}
	t->count += (double)n;
}

const pai_metric pai_metric_mse = {
	.name = "mse",
	.summary = "mean squared difference of output and target",
	.of = PAI_TARGETS,
	.add = add,
};
