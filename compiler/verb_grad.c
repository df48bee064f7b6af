/* verb_grad.c -- pai-opt grad MODEL: the gradient of sum(upstream * output) by inputs and
 * initialisers.
 *
 * --check holds it against differences of the forward model, five points for each element tried.
 * The forward model runs in float, so a difference is only good to some 1e-3 of the largest
 * gradient, and to what the rounding of the outputs makes of it; where that is more than the
 * tolerance, the difference decides nothing, and a tensor of which nothing was decided fails.
 */
#include "compiler/cli.h"
#include <float.h>
#include <math.h>
#include <string.h>

enum {
	TRIED = 24, /* elements of each tensor that --check looks at */
	STEPS = 4,  /* sizes of differences */
};

typedef struct job {
	cli *c;
	pai_model *m;
	pai_backend backend;
	int n_in;
	pai_value *const *inputs;
	const pai_tensor **in;
	int n_out;
	const pai_tensor **upstream; /* [n_out]; NULL: zero */
	int n_wrt;
	pai_value **wrt;
	const pai_tensor **grad; /* [n_wrt] zeros where nothing flows */
} job;

static pai_status read_inputs(job *j)
{
	cli *c = j->c;
	const char *file = cli_get(c, "input");
	pai_tensor **given;
	int n;
	j->n_in = pai_model_inputs(j->m, &j->inputs);
	if (!file)
		return pai_random_inputs(c->ctx, c->arena, j->m, c->ctx->seed, &j->in);
	PAI_TRY(pai_tensors_read(c->ctx, c->arena, file, &given, &n));
	return pai_match_inputs(c->ctx, c->arena, j->m, file, n, given, &j->in);
}

static bool is_float(const pai_value *v)
{
	return v->type.kind == PAI_TYPE_TENSOR &&
	       (v->type.dtype == PAI_FLOAT || v->type.dtype == PAI_DOUBLE);
}

/* Float inputs and initialisers whose name matches. */
static pai_status choose(job *j)
{
	const char *glob = cli_get(j->c, "wrt");
	const pai_graph *g = j->m->graph;
	j->wrt = PAI_NEWS(j->c->arena, pai_value *, g->inputs.n + g->inits.n + 1);
	for (int i = 0; i < j->n_in + g->inits.n; i++) {
		pai_value *v = i < j->n_in ? j->inputs[i] : g->inits.at[i - j->n_in];
		if (is_float(v) && (!glob || pai_glob(glob, v->name)))
			j->wrt[j->n_wrt++] = v;
	}
	if (!j->n_wrt)
		return pai_fail(j->c->ctx, PAI_E_bad_value, pai_at_nothing(),
				"no float input or initialiser is named \"%s\"",
				pai_escape(j->c->arena, glob ? glob : "*"));
	return PAI_OK;
}

/* One forward run, to learn what the outputs are. */
static pai_status forward(job *j, const pai_model *m, const pai_plan_options *o, pai_plan **plan,
			  const pai_tensor **out)
{
	PAI_TRY(pai_plan_new(j->c->ctx, m->graph, j->n_in, j->in, o, plan));
	pai_status status = pai_plan_run(*plan, j->in, out);
	if (status != PAI_OK) {
		pai_plan_free(*plan);
		*plan = NULL;
	}
	return status;
}

/* By output name from the file; ones where there is no file. */
static pai_status read_upstream(job *j, const pai_tensor *const *out)
{
	cli *c = j->c;
	const char *file = cli_get(c, "upstream");
	pai_tensor **given = NULL;
	int n = 0;
	if (file)
		PAI_TRY(pai_tensors_read(c->ctx, c->arena, file, &given, &n));
	j->upstream = PAI_NEWS(c->arena, const pai_tensor *, j->n_out + 1);
	for (int k = 0; k < j->n_out; k++) {
		const pai_value *v = j->m->graph->outputs.at[k];
		if (!is_float(v))
			continue;
		for (int i = 0; i < n; i++)
			if (given[i]->name && strcmp(given[i]->name, v->name) == 0)
				j->upstream[k] = given[i];
		if (j->upstream[k] && (j->upstream[k]->dtype != out[k]->dtype ||
				       !pai_same_shape(j->upstream[k], out[k])))
			return pai_fail(c->ctx, PAI_E_bad_input, pai_at_file(file),
					"array \"%s\" differs in type or shape from that output",
					pai_escape(c->arena, v->name));
		if (file)
			continue;
		pai_tensor *ones =
			pai_tensor_new(c->arena, out[k]->dtype, out[k]->rank, out[k]->dims);
		if (!ones)
			return pai_fail(c->ctx, PAI_E_memory, pai_at_value(v), "for its gradient");
		for (int64_t i = 0; i < pai_tensor_nelem(ones); i++)
			pai_tensor_set(ones, i, 1);
		j->upstream[k] = ones;
	}
	return PAI_OK;
}

/* The model with its gradient, upstream gradients as initialisers; grads[i] NULL: nothing flows. */
static pai_status differentiate(job *j, pai_value **grads)
{
	pai_graph *g = j->m->graph;
	pai_value **up = PAI_NEWS(j->c->arena, pai_value *, j->n_out + 1);
	pai_patch *p = pai_patch_new(g);
	pai_applied applied;
	pai_patch_begin(p, NULL, "upstream gradients");
	for (int k = 0; k < j->n_out; k++)
		if (j->upstream[k])
			up[k] = pai_patch_init(p, "upstream", (pai_tensor *)j->upstream[k]);
	PAI_TRY(pai_patch_apply(p, -1, &applied));
	PAI_TRY(pai_infer(j->m));
	return pai_autodiff(j->m, j->n_out, g->outputs.at, up, j->n_wrt, j->wrt, grads);
}

/* A copy of a result, or zeros shaped as the tensor it belongs to. */
static pai_status keep_tensor(job *j, const pai_tensor *like, bool zeros, const pai_tensor **out)
{
	pai_tensor *copy = pai_tensor_new(j->c->arena, like->dtype, like->rank, like->dims);
	if (!copy)
		return pai_fail(j->c->ctx, PAI_E_memory, pai_at_nothing(), "for a gradient");
	if (zeros)
		for (int64_t i = 0; i < pai_tensor_nelem(copy); i++)
			pai_tensor_set(copy, i, 0);
	else
		pai_copy(copy->data, like->data, like->nbytes);
	*out = copy;
	return PAI_OK;
}

/* Contents of wrt[i]. */
static const pai_tensor *contents(const job *j, int i)
{
	for (int k = 0; k < j->n_in; k++)
		if (j->inputs[k] == j->wrt[i])
			return j->in[k];
	return j->wrt[i]->init;
}

static pai_status gradients(job *j)
{
	pai_arena *a = j->c->arena;
	pai_value **grads = PAI_NEWS(a, pai_value *, j->n_wrt + 1);
	pai_value **keep = PAI_NEWS(a, pai_value *, j->n_wrt + 1);
	PAI_TRY(differentiate(j, grads));
	pai_plan_options o = {.backend = j->backend, .keep = keep};
	for (int i = 0; i < j->n_wrt; i++)
		if (grads[i])
			keep[o.n_keep++] = grads[i];
	const pai_tensor **out = PAI_NEWS(a, const pai_tensor *, j->n_out + j->n_wrt + 1);
	pai_plan *plan;
	PAI_TRY(forward(j, j->m, &o, &plan, out));
	pai_status status = PAI_OK;
	j->grad = PAI_NEWS(a, const pai_tensor *, j->n_wrt + 1);
	for (int i = 0, k = 0; i < j->n_wrt && status == PAI_OK; i++)
		status = grads[i] ? keep_tensor(j, out[j->n_out + k++], false, &j->grad[i])
				  : keep_tensor(j, contents(j, i), true, &j->grad[i]);
	pai_plan_free(plan);
	return status;
}

/* ---- the check against differences ---- */

typedef struct probe { /* the forward model with one tensor that can be moved */
	job *j;
	pai_plan *plan;
	pai_tensor *moved;
	const pai_tensor **in, **out;
	bool *reached; /* [n_out] outputs that the tensor has a way to */
} probe;

typedef struct reach { /* values of the main graph that depend on one of them */
	const pai_graph *g;
	bool *touched; /* [values] */
	bool found;
} reach;

static pai_status look_for_reads(void *payload, pai_graph *g)
{
	reach *r = payload;
	for (int i = 0; i < g->nodes.n; i++)
		for (int k = 0; k < g->nodes.at[i]->n_in; k++) {
			const pai_value *v = g->nodes.at[i]->in[k];
			r->found |= v && v->graph == r->g && r->touched[v->id];
		}
	for (int i = 0; i < g->outputs.n; i++)
		r->found |= g->outputs.at[i]->graph == r->g && r->touched[g->outputs.at[i]->id];
	return PAI_OK;
}

static bool reads_touched(reach *r, const pai_node *n)
{
	r->found = false;
	for (int k = 0; k < n->n_in; k++)
		r->found |= n->in[k] && r->touched[n->in[k]->id];
	for (int k = 0; k < n->n_attrs; k++) {
		const pai_attr *a = &n->attrs[k];
		if (a->type == PAI_ATTR_GRAPH && a->g)
			(void)pai_graph_walk(a->g, look_for_reads, r);
	}
	return r->found;
}

/* Which outputs the value has a way to: large ones that it has none to would hide the others. */
static bool *outputs_reached(pai_arena *a, const pai_model *m, const pai_value *from)
{
	const pai_graph *g = m->graph;
	reach r = {.g = g, .touched = PAI_NEWS(a, bool, g->values.n)};
	bool *out = PAI_NEWS(a, bool, g->outputs.n + 1);
	r.touched[from->id] = true;
	for (int i = 0; i < g->nodes.n; i++) {
		const pai_node *n = g->nodes.at[i];
		if (!reads_touched(&r, n))
			continue;
		for (int k = 0; k < n->n_out; k++)
			if (n->out[k])
				r.touched[n->out[k]->id] = true;
	}
	for (int k = 0; k < g->outputs.n; k++)
		out[k] = r.touched[g->outputs.at[k]->id];
	return out;
}

/* sum(upstream * output) with element i at x; *size: root of the sum of squares, since roundings
 * are independent. */
static pai_status loss_at(probe *p, int64_t i, double x, double *loss, double *size)
{
	double old = pai_tensor_get(p->moved, i);
	pai_tensor_set(p->moved, i, x);
	pai_status status = pai_plan_run(p->plan, p->in, p->out);
	pai_tensor_set(p->moved, i, old);
	PAI_TRY(status);
	*loss = *size = 0;
	for (int k = 0; k < p->j->n_out; k++)
		for (int64_t e = 0;
		     p->j->upstream[k] && p->reached[k] && e < pai_tensor_nelem(p->out[k]); e++) {
			double v =
				pai_tensor_get(p->out[k], e) * pai_tensor_get(p->j->upstream[k], e);
			*loss += v;
			*size += v * v;
		}
	*size = sqrt(*size);
	return PAI_OK;
}

typedef struct slope { /* of the forward model along one element */
	double central, left, right;
	double noise; /* what rounding of the outputs may add to each of them */
} slope;

/* f'(x) = (8 (f(x+h) - f(x-h)) - (f(x+2h) - f(x-2h))) / 12h + O(h^4) */
static pai_status slope_at(probe *p, int64_t i, double h, slope *out)
{
	double x = pai_tensor_get(p->moved, i), f[5], size[5];
	static const double at[5] = {0, 1, -1, 2, -2};
	for (int k = 0; k < 5; k++)
		PAI_TRY(loss_at(p, i, x + at[k] * h, &f[k], &size[k]));
	out->central = (8 * (f[1] - f[2]) - (f[3] - f[4])) / (12 * h);
	out->right = (f[1] - f[0]) / h;
	out->left = (f[0] - f[2]) / h;
	out->noise = 3 * (double)FLT_EPSILON * size[0] / h;
	return PAI_OK;
}

typedef enum verdict { AGREES, KINK, UNDEFINED, HIDDEN, WRONG, VERDICTS } verdict;

typedef struct comparison { /* of one element */
	verdict verdict;
	double want, error; /* from the step that came nearest */
} comparison;

/* Steps get smaller until one agrees, since a kink may lie within a large one. At a kink any slope
 * between those of its sides will do. */
static pai_status compare(probe *p, int64_t i, double got, double tolerance, comparison *out)
{
	const double first = 1e-2 * fmax(1, fabs(pai_tensor_get(p->moved, i)));
	slope s, last = {0}; /* the last that decides */
	*out = (comparison){.verdict = UNDEFINED, .error = INFINITY};
	for (int k = 0; k < STEPS; k++) {
		PAI_TRY(slope_at(p, i, ldexp(first, -3 * k), &s));
		double error = fabs(got - s.central);
		if (!isfinite(s.central))
			continue;
		if (!(s.noise <= tolerance)) {
			out->verdict = out->verdict == WRONG ? WRONG : HIDDEN;
			continue;
		}
		last = s;
		out->verdict = WRONG;
		if (!(error >= out->error)) {
			out->want = s.central;
			out->error = error;
		}
		if (error <= tolerance + s.noise) {
			out->verdict = AGREES;
			return PAI_OK;
		}
	}
	double slack = tolerance + last.noise;
	if (out->verdict == WRONG && fabs(last.left - last.right) > slack &&
	    got >= fmin(last.left, last.right) - slack &&
	    got <= fmax(last.left, last.right) + slack)
		out->verdict = KINK;
	return PAI_OK;
}

/* The forward model's plan in which wrt[i] is a tensor of ours. */
static pai_status probe_new(job *j, const pai_model *m, int i, probe *p)
{
	pai_arena *a = j->c->arena;
	const pai_tensor *from = contents(j, i);
	int slot = -1;
	for (int k = 0; k < j->n_in; k++)
		slot = j->inputs[k] == j->wrt[i] ? k : slot;
	p->j = j;
	p->in = PAI_NEWS(a, const pai_tensor *, j->n_in + 1);
	p->out = PAI_NEWS(a, const pai_tensor *, j->n_out + 1);
	p->moved = pai_tensor_new(a, from->dtype, from->rank, from->dims);
	if (!p->moved)
		return pai_fail(j->c->ctx, PAI_E_memory, pai_at_nothing(), "for the check");
	pai_copy(p->moved->data, from->data, from->nbytes);
	for (int k = 0; k < j->n_in; k++)
		p->in[k] = k == slot ? p->moved : j->in[k];
	pai_value *bound = pai_graph_value(m->graph, j->wrt[i]->name);
	p->reached = outputs_reached(a, m, bound);
	pai_plan_options o = {.backend = j->backend,
			      .n_bound = slot < 0,
			      .bound = &bound,
			      .bound_data = &p->moved->data};
	return pai_plan_new(j->c->ctx, m->graph, j->n_in, j->in, &o, &p->plan);
}

/* All elements of a small tensor, else some at random. */
static pai_status compare_elements(job *j, probe *p, int i, double tolerance, int64_t tried,
				   int *counts, double *worst)
{
	int64_t n = pai_tensor_nelem(p->moved);
	pai_random r = pai_random_new(j->c->ctx->seed, (uint64_t)i, 0);
	double error = -1;
	for (int64_t k = 0; k < tried; k++) {
		int64_t e = n <= TRIED ? k
				       : (int64_t)((double)pai_random_uniform(&r, (uint64_t)k) *
						   (double)n);
		comparison c;
		double got = pai_tensor_get(j->grad[i], e);
		PAI_TRY(compare(p, e, got, tolerance, &c));
		counts[c.verdict]++;
		bool first_wrong = c.verdict == WRONG && counts[WRONG] == 1;
		bool shown = c.verdict == (counts[WRONG] ? WRONG : AGREES);
		if (!first_wrong && !(shown && !(c.error <= error)))
			continue;
		error = c.error;
		worst[0] = got;
		worst[1] = c.want;
	}
	return PAI_OK;
}

typedef struct failures { /* numbers of tensors */
	int wrong, open;
} failures;

static void print_counts(cli *c, const int *counts)
{
	if (counts[KINK])
		cli_print(c, ", %d at a kink", counts[KINK]);
	if (counts[UNDEFINED])
		cli_print(c, ", %d where the outputs are not finite", counts[UNDEFINED]);
	if (counts[HIDDEN])
		cli_print(c, ", %d hidden by rounding of the outputs", counts[HIDDEN]);
	cli_print(c, "\n");
}

static pai_status check_tensor(job *j, const pai_model *m, int i, double rtol, double atol,
			       failures *bad)
{
	probe p = {0};
	double largest = 0, worst[2] = {0};
	int counts[VERDICTS] = {0};
	PAI_TRY(probe_new(j, m, i, &p));
	int64_t n = pai_tensor_nelem(p.moved), tried = n < TRIED ? n : TRIED;
	for (int64_t e = 0; e < n; e++) {
		double size = fabs(pai_tensor_get(j->grad[i], e));
		largest = isfinite(size) ? fmax(largest, size) : largest;
	}
	pai_status status = compare_elements(j, &p, i, atol + rtol * largest, tried, counts, worst);
	pai_plan_free(p.plan);
	PAI_TRY(status);
	bool open = tried > 0 && counts[UNDEFINED] + counts[HIDDEN] == tried;
	bad->wrong += counts[WRONG] > 0;
	bad->open += open;
	if (open) {
		cli_print(j->c, "OPEN   %s: none of %lld elements could be compared",
			  pai_escape(j->c->arena, j->wrt[i]->name), (long long)tried);
		print_counts(j->c, counts);
		return PAI_OK;
	}
	cli_print(j->c,
		  "%-6s %s: %lld of %lld elements, largest gradient %.4g, worst %.6g against %.6g",
		  counts[WRONG] ? "WRONG" : "ok", pai_escape(j->c->arena, j->wrt[i]->name),
		  (long long)tried, (long long)n, largest, worst[0], worst[1]);
	print_counts(j->c, counts);
	return PAI_OK;
}

static pai_status check(job *j, const pai_model *m)
{
	double rtol = 1e-2, atol = 1e-3;
	failures bad = {0};
	PAI_TRY(cli_float(j->c, "rtol", 0, 1, &rtol));
	PAI_TRY(cli_float(j->c, "atol", 0, INFINITY, &atol));
	for (int i = 0; i < j->n_wrt; i++)
		PAI_TRY(check_tensor(j, m, i, rtol, atol, &bad));
	if (bad.wrong)
		return pai_fail(j->c->ctx, PAI_E_gradient_check, pai_at_file(m->path),
				"%d of %d gradients differ from the differences", bad.wrong,
				j->n_wrt);
	if (bad.open)
		return pai_fail(j->c->ctx, PAI_E_gradient_check, pai_at_file(m->path),
				"of %d of %d gradients no element could be compared", bad.open,
				j->n_wrt);
	return PAI_OK;
}

static void report(cli *c, const char *name, double norm, double largest)
{
	if (!c->report)
		return;
	cJSON *list = cJSON_GetObjectItem(c->report, "gradients"), *o = cJSON_CreateObject();
	if (!list)
		list = cJSON_AddArrayToObject(c->report, "gradients");
	cJSON_AddStringToObject(o, "tensor", pai_escape(c->arena, name));
	cJSON_AddNumberToObject(o, "norm", norm);
	cJSON_AddNumberToObject(o, "largest", largest);
	cJSON_AddItemToArray(list, o);
}

static pai_status hand_out(job *j)
{
	cli *c = j->c;
	const char *path = cli_get(c, "output");
	const char **names = PAI_NEWS(c->arena, const char *, j->n_wrt + 1);
	for (int i = 0; i < j->n_wrt; i++) {
		double sum = 0, largest = 0;
		names[i] = j->wrt[i]->name;
		for (int64_t e = 0; e < pai_tensor_nelem(j->grad[i]); e++) {
			double v = pai_tensor_get(j->grad[i], e);
			sum += v * v;
			largest = fmax(largest, fabs(v));
		}
		report(c, names[i], sqrt(sum), largest);
		if (!path && !cli_has(c, "check"))
			cli_print(c, "%s: norm %.6g, largest %.6g\n",
				  pai_escape(c->arena, names[i]), sqrt(sum), largest);
	}
	return path ? pai_npz_write(c->ctx, path, j->n_wrt, names, j->grad) : PAI_OK;
}

/* `plain` stays as it was read: the check runs it. */
static pai_status work(job *j, const pai_model *plain)
{
	pai_plan *plan;
	pai_plan_options o = {.backend = j->backend};
	PAI_TRY(read_inputs(j));
	PAI_TRY(choose(j));
	j->n_out = j->m->graph->outputs.n;
	const pai_tensor **out = PAI_NEWS(j->c->arena, const pai_tensor *, j->n_out + 1);
	PAI_TRY(forward(j, plain, &o, &plan, out));
	pai_status status = read_upstream(j, out);
	pai_plan_free(plan);
	PAI_TRY(status);
	PAI_TRY(gradients(j));
	if (cli_has(j->c, "check"))
		PAI_TRY(check(j, plain));
	return hand_out(j);
}

static pai_status run(cli *c)
{
	pai_model *plain;
	job j = {.c = c};
	PAI_TRY(cli_backend(c, &j.backend));
	PAI_TRY(cli_try_output(c, cli_get(c, "output")));
	PAI_TRY(cli_model(c, c->args[0], &plain));
	j.m = pai_model_clone(plain);
	pai_status status = work(&j, plain);
	pai_model_free(j.m);
	pai_model_free(plain);
	return status;
}

static const cli_option options[] = {
	{"input", "FILE", "inputs: .npz, .npy or a folder of input_K.pb (default: random)"},
	{"upstream", "FILE", "gradients of the outputs by name (default: ones)"},
	{"output", "FILE", "write the gradients by name of input and initialiser, .npz"},
	{"wrt", "GLOB", "only inputs and initialisers of that name"},
	{"check", NULL, "hold the gradients against central differences"},
	{"rtol", "X",
	 "allowed difference relative to the tensor's largest gradient (default 1e-2)"},
	{"atol", "X", "allowed absolute difference, added to that (default 1e-3)"},
	{NULL, NULL, NULL},
};

const cli_verb cli_verb_grad = {
	.name = "grad",
	.summary = "gradient of the outputs by inputs and initialisers",
	.usage = "MODEL [--input=FILE] [--upstream=FILE] [--output=FILE]",
	.examples = "  pai-opt grad model.onnx --check\n"
		    "  pai-opt grad model.onnx --input=x.npz --upstream=dy.npz --output=dx.npz\n",
	.options = options,
	.min_args = 1,
	.max_args = 1,
	.run = run,
};
