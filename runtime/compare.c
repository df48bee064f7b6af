/* compare.c -- do two models compute the same function? Both run on the same inputs. */
#include "runtime/runtime.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Maps floats to integers in the order of the numbers, so that a difference counts the steps. */
static int64_t ordered(float f)
{
	int32_t i;
	memcpy(&i, &f, sizeof i);
	return i < 0 ? (int64_t)INT32_MIN - i : i;
}

/* The same for the bits of a float of 16. */
static int64_t ordered_short(uint16_t bits)
{
	return bits & 0x8000 ? 0x8000 - (int64_t)bits : bits;
}

double pai_ulps(pai_dtype dtype, double x, double y)
{
	if (pai_dtype_get(dtype)->kind != PAI_KIND_FLOAT)
		return 0;
	if (dtype == PAI_DOUBLE)
		return x == y ? 0 : fabs(x - y) / fmax(fabs(nextafter(x, INFINITY) - x), 4.9e-324);
	if (dtype == PAI_FLOAT16)
		return (double)llabs(ordered_short(pai_float_to_half((float)x)) -
				     ordered_short(pai_float_to_half((float)y)));
	if (dtype == PAI_BFLOAT16)
		return (double)llabs(ordered_short(pai_float_to_bfloat((float)x)) -
				     ordered_short(pai_float_to_bfloat((float)y)));
	return (double)llabs(ordered((float)x) - ordered((float)y));
}

static void take(pai_difference *d, pai_dtype dtype, double x, double y)
{
	if (isnan(x) || isnan(y)) {
		d->nan |= isnan(x) != isnan(y);
		return;
	}
	if (isfinite(x) && fabs(x) > d->magnitude)
		d->magnitude = fabs(x);
	if (x == y)
		return;
	double abs = fabs(x - y), ulp = pai_ulps(dtype, x, y);
	d->abs = fmax(d->abs, abs);
	d->ulp = fmax(d->ulp, ulp);
}

static void compare_tensors(pai_difference *d, const pai_tensor *x, const pai_tensor *y)
{
	if (x->dtype != y->dtype || !pai_same_shape(x, y)) {
		d->shape = true;
		return;
	}
	pai_dtype_kind kind = pai_dtype_get(x->dtype)->kind;
	if (kind == PAI_KIND_STRING || kind == PAI_KIND_COMPLEX) {
		d->abs = pai_tensor_equal(x, y) ? d->abs : INFINITY;
		return;
	}
	int64_t n = pai_tensor_nelem(x);
	for (int64_t i = 0; i < n; i++)
		take(d, x->dtype, pai_tensor_get(x, i), pai_tensor_get(y, i));
}

static pai_status compare_set(pai_runner *rx, pai_runner *ry, const pai_tensor *const *inputs,
			      const pai_tensor **ox, const pai_tensor **oy, pai_difference *d,
			      int n)
{
	PAI_TRY(pai_runner_run(rx, inputs, ox));
	PAI_TRY(pai_runner_run(ry, inputs, oy));
	for (int i = 0; i < n; i++)
		compare_tensors(&d[i], ox[i], oy[i]);
	return PAI_OK;
}

pai_status pai_compare(pai_ctx *ctx, pai_arena *a, const pai_model *x, const pai_model *y,
		       const pai_plan_options *o, int n_sets,
		       const pai_tensor *const *const *inputs, pai_difference **out, int *n_out)
{
	const int n = x->graph->outputs.n;
	if (n != y->graph->outputs.n)
		return pai_fail(ctx, PAI_E_not_equivalent, pai_at_file(y->path),
				"has %d outputs, the other model %d", y->graph->outputs.n, n);
	pai_difference *d = PAI_NEWS(a, pai_difference, n);
	const pai_tensor **ox = PAI_NEWS(a, const pai_tensor *, n);
	const pai_tensor **oy = PAI_NEWS(a, const pai_tensor *, n);
	pai_runner *rx = NULL, *ry = NULL;
	pai_status status = pai_runner_new(ctx, x, o, &rx);
	if (status == PAI_OK)
		status = pai_runner_new(ctx, y, o, &ry);
	if (status == PAI_OK) /* an implementation that changes shows as a difference otherwise */
		pai_runner_follow(ry, rx);
	for (int i = 0; i < n; i++)
		d[i].output = pai_arena_strdup(a, x->graph->outputs.at[i]->name);
	for (int k = 0; k < n_sets && status == PAI_OK; k++)
		status = compare_set(rx, ry, inputs[k], ox, oy, d, n);
	pai_runner_free(rx);
	pai_runner_free(ry);
	for (int i = 0; i < n; i++)
		d[i].rel = d[i].abs > 0 ? d[i].abs / fmax(d[i].magnitude, 1e-30) : 0;
	*out = d;
	*n_out = n;
	return status;
}

bool pai_difference_within(const pai_difference *d, double rtol, double atol)
{
	return !d->shape && !d->nan && d->abs <= atol + rtol * d->magnitude;
}
