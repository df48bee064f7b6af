/* accuracy.c -- share of predictions that are right: the class of the largest output, over axis 1
 * of [N, C, rest], is that of the label, or that of the largest probability. */
#include "runtime/runtime.h"

/* Which class an output or a row of probabilities names: the first of the largest, over axis 1 of
 * [N, C, rest]. */
static int64_t best_class(const float *at, int64_t classes, int64_t stride)
{
	int64_t best = 0;
	for (int64_t c = 1; c < classes; c++)
		if (at[c * stride] > at[best * stride])
			best = c;
	return best;
}

static void add(pai_tally *t, const pai_tensor *y, const pai_tensor *labels, double loss)
{
	(void)loss;
	if (y->rank < 2 || y->dtype != PAI_FLOAT)
		return;
	int64_t classes = y->dims[1], rest = 1;
	for (int i = 2; i < y->rank; i++)
		rest *= y->dims[i];
	const float *at = y->data, *soft = labels->dtype == PAI_FLOAT ? labels->data : NULL;
	for (int64_t n = 0; n < y->dims[0]; n++)
		for (int64_t r = 0; r < rest; r++) {
			int64_t start = n * classes * rest + r;
			int64_t want = soft ? best_class(soft + start, classes, rest)
					    : pai_tensor_get_int(labels, n * rest + r);
			if (!soft && t->ignores && want == t->ignored)
				continue;
			t->sum += best_class(at + start, classes, rest) == want;
			t->count++;
		}
}

const pai_metric pai_metric_accuracy = {
	.name = "accuracy",
	.summary = "share of the predictions that are right",
	.higher_is_better = true,
	.of = PAI_CLASSES,
	.add = add,
};
