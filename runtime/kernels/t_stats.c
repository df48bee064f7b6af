/* t_stats.c -- ranges of a tensor, and the attributes that all transforms share.
 *
 * A transform that scales by its own input needs the largest magnitude or both extremes of it, and
 * its gradient hands a share back to exactly the elements that attain them.
 */
#include "runtime/kernels/t_stats.h"
#include <math.h>
#include <string.h>

pai_t_stats pai_t_stats_of(int64_t n, const float *v, bool strict)
{
	pai_t_stats s = {0};
	bool any = false;
	for (int64_t i = 0; i < n; i++) {
		if (isnan(v[i]) && strict)
			return (pai_t_stats){NAN, NAN, NAN, NAN};
		if (!strict && !isfinite(v[i]))
			continue;
		if (!any || v[i] < s.min)
			s.min = v[i];
		if (!any || v[i] > s.max)
			s.max = v[i];
		any = true;
	}
	s.extreme = -s.min > s.max ? s.min : s.max;
	s.max_abs = fabsf(s.extreme);
	return s;
}

pai_status pai_t_mode_of(pai_ctx *ctx, const pai_node *n, pai_t_mode *out)
{
	static const char *const grads[] = {"ste", "ste_range", "ste_clip"};
	const char *compat = pai_node_string(n, "compat", "none");
	const char *grad = pai_node_string(n, "grad", "auto");
	out->rockpool = strcmp(compat, "rockpool") == 0;
	if (!out->rockpool && strcmp(compat, "none") != 0)
		return pai_fail(ctx, PAI_E_transform_attribute, pai_at_attr(n, "compat"),
				"is \"%s\", expected \"none\" or \"rockpool\"", compat);
	if (strcmp(grad, "auto") == 0) {
		out->grad = out->rockpool ? PAI_T_STE_RANGE : PAI_T_STE;
		return PAI_OK;
	}
	for (int i = 0; i < 3; i++)
		if (strcmp(grad, grads[i]) == 0) {
			out->grad = (pai_t_grad)i;
			return PAI_OK;
		}
	return pai_fail(ctx, PAI_E_transform_attribute, pai_at_attr(n, "grad"),
			"is \"%s\", expected \"auto\", \"ste\", \"ste_range\" or \"ste_clip\"",
			grad);
}

void pai_t_give(int64_t n, const float *v, float value, bool magnitude, double share, float *dx)
{
	int64_t ties = 0;
	for (int64_t i = 0; i < n; i++)
		ties += (magnitude ? fabsf(v[i]) : v[i]) == value;
	for (int64_t i = 0; ties > 0 && i < n; i++) {
		double sign = !magnitude ? 1 : v[i] > 0 ? 1 : v[i] < 0 ? -1 : 0;
		if ((magnitude ? fabsf(v[i]) : v[i]) == value)
			dx[i] = (float)(dx[i] + sign * share / (double)ties);
	}
}

pai_status pai_t_uniform(pai_call *c, const pai_tensor **out)
{
	const pai_tensor *u = c->n_in > 1 ? c->in[1] : NULL;
	int64_t n = pai_tensor_nelem(c->in[0]);
	if (u && pai_tensor_nelem(u) != n)
		return pai_fail(c->ctx, PAI_E_transform_input, pai_at_input(c->node, 1),
				"has %lld elements, expected %lld", (long long)pai_tensor_nelem(u),
				(long long)n);
	*out = u;
	return PAI_OK;
}
