/* batch.c -- samples of a data set as inputs of a model.
 *
 * Each input and the labels have a feed: which field, how many elements a sample has, and how an
 * element is converted. Everything that can be wrong is found when feeds are made, labels out of
 * range included; filling a batch cannot fail.
 */
#include "runtime/runtime.h"
#include <assert.h>
#include <math.h>
#include <string.h>

typedef void (*convert_fn)(const void *from, void *to, size_t n);

struct pai_feed {
	const pai_tensor *from;
	pai_tensor *to;
	size_t n;          /* elements of a sample */
	size_t from_bytes; /* of a sample */
	size_t to_bytes;
	convert_fn convert; /* NULL: copied */
};

static void from_u8_to_unit(const void *from, void *to, size_t n)
{
	const uint8_t *f = from;
	float *t = to;
	for (size_t i = 0; i < n; i++)
		t[i] = (float)f[i] / 255.0f;
}

static void from_double(const void *from, void *to, size_t n)
{
	const double *f = from;
	float *t = to;
	for (size_t i = 0; i < n; i++)
		t[i] = (float)f[i];
}

static void from_half(const void *from, void *to, size_t n)
{
	const uint16_t *f = from;
	float *t = to;
	for (size_t i = 0; i < n; i++)
		t[i] = pai_half_to_float(f[i]);
}

#define WIDEN(name, T, U)                                      \
	static void name(const void *from, void *to, size_t n) \
	{                                                      \
		const T *f = from;                             \
		U *t = to;                                     \
		for (size_t i = 0; i < n; i++)                 \
			t[i] = (U)f[i];                        \
	}
WIDEN(widen_u8, uint8_t, int64_t)
WIDEN(widen_u16, uint16_t, int64_t)
WIDEN(widen_u32, uint32_t, int64_t)
WIDEN(widen_i8, int8_t, int64_t)
WIDEN(widen_i16, int16_t, int64_t)
WIDEN(widen_i32, int32_t, int64_t)
WIDEN(widen_u8_to_32, uint8_t, int32_t)
WIDEN(widen_u16_to_32, uint16_t, int32_t)
WIDEN(widen_i8_to_32, int8_t, int32_t)
WIDEN(widen_i16_to_32, int16_t, int32_t)
#undef WIDEN

static const struct {
	pai_dtype from, to;
	convert_fn convert;
} conversions[] = {
	{PAI_UINT8, PAI_FLOAT, from_u8_to_unit},  {PAI_DOUBLE, PAI_FLOAT, from_double},
	{PAI_FLOAT16, PAI_FLOAT, from_half},      {PAI_UINT8, PAI_INT64, widen_u8},
	{PAI_UINT16, PAI_INT64, widen_u16},       {PAI_UINT32, PAI_INT64, widen_u32},
	{PAI_INT8, PAI_INT64, widen_i8},          {PAI_INT16, PAI_INT64, widen_i16},
	{PAI_INT32, PAI_INT64, widen_i32},        {PAI_UINT8, PAI_INT32, widen_u8_to_32},
	{PAI_UINT16, PAI_INT32, widen_u16_to_32}, {PAI_INT8, PAI_INT32, widen_i8_to_32},
	{PAI_INT16, PAI_INT32, widen_i16_to_32},
};

static bool find_conversion(pai_dtype from, pai_dtype to, convert_fn *out)
{
	*out = NULL;
	if (from == to)
		return true;
	for (size_t i = 0; i < sizeof conversions / sizeof conversions[0]; i++)
		if (conversions[i].from == from && conversions[i].to == to) {
			*out = conversions[i].convert;
			return true;
		}
	return false;
}

static const pai_field *find_field(const pai_dataset *d, const char *name)
{
	for (int i = 0; i < d->n_fields; i++)
		if (strcmp(d->fields[i].name, name) == 0)
			return &d->fields[i];
	return NULL;
}

const pai_field *pai_label_field(const pai_dataset *d, const char *key)
{
	if (key)
		return find_field(d, key);
	const pai_field *f = find_field(d, "label");
	return f ? f : find_field(d, "labels");
}

static const char *field_names(pai_arena *a, const pai_dataset *d)
{
	const char *s = "";
	for (int i = 0; i < d->n_fields; i++)
		s = pai_arena_printf(a, "%s%s\"%s\"", s, i ? ", " : "", d->fields[i].name);
	return s;
}

/* The field of an input: its name, or what is left when there is one input and one field. */
static const pai_field *input_field(const pai_dataset *d, const char *name, const pai_field *label,
				    bool only)
{
	const pai_field *f = find_field(d, name), *left = NULL;
	if (f || !only)
		return f;
	for (int i = 0; i < d->n_fields; i++) {
		if (&d->fields[i] == label)
			continue;
		if (left)
			return NULL;
		left = &d->fields[i];
	}
	return left;
}

/* Sizes of one sample of a field fit what a value wants: equal, or equal but for axes of size 1, or
 * one of them flat. dims: the sizes the batch gets, from axis 1 on. */
static bool sample_fits(const pai_tensor *t, const pai_type *want, int *rank, int64_t *dims)
{
	int have = t->rank - 1, wanted = want->rank - 1;
	const int64_t *h = t->dims + 1, *w = want->dims + 1;
	*rank = have;
	pai_copy(dims, h, sizeof *dims * (size_t)have);
	if (want->rank < 0)
		return true;
	bool equal = have == wanted, known = true;
	for (int i = 0; i < have && equal; i++)
		equal = w[i] < 0 || w[i] == h[i];
	if (equal)
		return true;
	int64_t n_have = 1, n_want = 1;
	for (int i = 0; i < have; i++)
		n_have *= h[i];
	for (int i = 0; i < wanted; i++) {
		known &= w[i] >= 0 && !__builtin_mul_overflow(n_want, w[i], &n_want);
	}
	if (!known || n_have != n_want || wanted < 0)
		return false;
	bool fits = have <= 1 || wanted <= 1;
	int i = 0, k = 0;
	for (; !fits;) { /* skip ones on both sides */
		while (i < have && h[i] == 1)
			i++;
		while (k < wanted && w[k] == 1)
			k++;
		if (i == have || k == wanted || h[i] != w[k])
			break;
		i++, k++;
	}
	fits = fits || (i == have && k == wanted);
	*rank = wanted;
	pai_copy(dims, w, sizeof *dims * (size_t)wanted);
	return fits;
}

static const char *tensor_text(pai_ctx *ctx, pai_arena *a, const pai_tensor *t)
{
	pai_type type = {PAI_TYPE_TENSOR, t->dtype, t->rank, t->dims, NULL};
	return pai_type_text(ctx, a, &type);
}

static pai_status make_feed(pai_ctx *ctx, pai_arena *a, const pai_dataset *d, const pai_field *f,
			    const pai_value *v, bool is_label, int max_batch, struct pai_feed *out)
{
	const pai_tensor *t = &f->tensor;
	int64_t dims[PAI_MAX_RANK + 1];
	int rank;
	pai_dtype want = v->type.dtype ? v->type.dtype : t->dtype;
	if (!find_conversion(t->dtype, want, &out->convert) ||
	    !sample_fits(t, &v->type, &rank, dims + 1))
		return pai_fail(ctx, is_label ? PAI_E_label_mismatch : PAI_E_field_mismatch,
				pai_at_file(d->path),
				"field \"%s\" is %s, but the model's %s \"%s\" is %s", f->name,
				tensor_text(ctx, a, t), is_label ? "label" : "input", v->name,
				pai_type_text(ctx, a, &v->type));
	dims[0] = max_batch;
	out->from = t;
	out->to = pai_tensor_new(a, want, rank + 1, dims);
	if (!out->to)
		return pai_fail(ctx, PAI_E_memory, pai_at_file(d->path), "for a batch");
	out->n = (size_t)(pai_tensor_nelem(t) / d->n);
	out->from_bytes = t->nbytes / (size_t)d->n;
	out->to_bytes = out->to->nbytes / (size_t)max_batch;
	return PAI_OK;
}

/* Probabilities of classes, along axis 1 of [N, C, rest], as one sample has them. */
static pai_status check_probabilities(pai_ctx *ctx, const pai_dataset *d, const pai_field *f,
				      const pai_objective *o, int64_t sample)
{
	const double tolerance = 1e-3; /* halves are summed, too */
	const pai_type *output = &o->output->type;
	const int64_t each = pai_tensor_nelem(&f->tensor) / d->n;
	const int64_t classes = output->rank >= 2 && output->dims[1] > 0 ? output->dims[1] : each;
	const int64_t rest = classes ? each / classes : 0;
	for (int64_t r = 0; r < rest; r++) {
		double sum = 0;
		for (int64_t c = 0; c < classes; c++) {
			double p = pai_tensor_get(&f->tensor, sample * each + c * rest + r);
			if (!(p >= 0))
				return pai_fail(ctx, PAI_E_bad_labels, pai_at_file(d->path),
						"field \"%s\": sample %lld gives class %lld the "
						"probability %g",
						f->name, (long long)sample, (long long)c, p);
			sum += p;
		}
		if (!(fabs(sum - 1) <= tolerance))
			return pai_fail(ctx, PAI_E_bad_labels, pai_at_file(d->path),
					"field \"%s\": the probabilities of sample %lld sum to %g",
					f->name, (long long)sample, sum);
	}
	return PAI_OK;
}

static pai_status check_targets(pai_ctx *ctx, const pai_dataset *d, const pai_field *f,
				const pai_objective *o)
{
	const int64_t n = pai_tensor_nelem(&f->tensor);
	for (int64_t i = 0; i < n; i++)
		if (!isfinite(pai_tensor_get(&f->tensor, i)))
			return pai_fail(ctx, PAI_E_bad_labels, pai_at_file(d->path),
					"field \"%s\": sample %lld has the target %g", f->name,
					(long long)(i / (n / d->n)), pai_tensor_get(&f->tensor, i));
	for (int64_t i = 0; o->probabilities && i < d->n; i++)
		PAI_TRY(check_probabilities(ctx, d, f, o, i));
	return PAI_OK;
}

/* Class indices must be below the number of classes (or be the one the loss ignores). */
static pai_status check_labels(pai_ctx *ctx, const pai_dataset *d, const pai_field *f,
			       const pai_objective *o)
{
	const pai_type *output = &o->output->type;
	if (pai_dtype_get(f->tensor.dtype)->kind == PAI_KIND_FLOAT)
		return check_targets(ctx, d, f, o);
	if (o->label->type.dtype != PAI_INT64 || output->rank < 2 || output->dims[1] < 0)
		return PAI_OK;
	const pai_node *ce = NULL;
	for (int i = 0; i < o->model->graph->nodes.n; i++) {
		const pai_node *n = o->model->graph->nodes.at[i];
		if (pai_node_is(n, "SoftmaxCrossEntropyLoss") && pai_node_in(n, 1) == o->label)
			ce = n;
	}
	bool ignores = ce && pai_node_attr(ce, "ignore_index");
	int64_t ignored = ignores ? pai_node_int(ce, "ignore_index", 0) : 0;
	int64_t n = pai_tensor_nelem(&f->tensor);
	for (int64_t i = 0; i < n; i++) {
		int64_t c = pai_tensor_get_int(&f->tensor, i);
		if ((c < 0 || c >= output->dims[1]) && !(ignores && c == ignored))
			return pai_fail(
				ctx, PAI_E_label_range, pai_at_file(d->path),
				"field \"%s\": label %lld of sample %lld, but output \"%s\" "
				"of the model has %lld classes",
				f->name, (long long)c, (long long)(i / (n / d->n)), o->output->name,
				(long long)output->dims[1]);
	}
	return PAI_OK;
}

pai_status pai_batcher_new(pai_ctx *ctx, pai_arena *a, const pai_objective *o, const pai_dataset *d,
			   const char *label_key, int max_batch, pai_batcher *out)
{
	pai_value *const *inputs;
	int n = pai_model_inputs(o->model, &inputs) - 1; /* the last one is the label */
	const pai_field *label = pai_label_field(d, label_key);
	if (!label)
		return pai_fail(ctx, PAI_E_no_field, pai_at_file(d->path),
				"has no field \"%s\" for the labels, only %s",
				label_key ? label_key : "label", field_names(a, d));
	*out = (pai_batcher){.n_inputs = n, .n = d->n};
	out->feeds = PAI_NEWS(a, struct pai_feed, n + 1);
	out->inputs = PAI_NEWS(a, pai_tensor *, n + 1);
	for (int i = 0; i < n; i++) {
		const pai_field *f = input_field(d, inputs[i]->name, label, n == 1);
		if (!f)
			return pai_fail(ctx, PAI_E_no_field, pai_at_file(d->path),
					"has no field for the model's input \"%s\", only %s",
					inputs[i]->name, field_names(a, d));
		PAI_TRY(make_feed(ctx, a, d, f, inputs[i], false, max_batch, &out->feeds[i]));
		out->inputs[i] = out->feeds[i].to;
	}
	PAI_TRY(make_feed(ctx, a, d, label, o->label, true, max_batch, &out->feeds[n]));
	out->labels = out->feeds[n].to;
	return check_labels(ctx, d, label, o);
}

pai_status pai_labels_fit(pai_ctx *ctx, const pai_objective *o, const pai_tensor *output,
			  const pai_tensor *labels)
{
	const int classes = labels->dtype == PAI_INT64; /* an axis that they do not have */
	bool fits = labels->rank == output->rank - classes;
	for (int i = 0; fits && i < labels->rank; i++)
		fits = labels->dims[i] == output->dims[i && classes ? i + 1 : i];
	if (fits)
		return PAI_OK;
	pai_arena *a = pai_arena_new(ctx);
	pai_status st =
		pai_fail(ctx, PAI_E_label_mismatch, pai_at_value(o->output),
			 "is %s for a batch of which \"%s\" is %s", tensor_text(ctx, a, output),
			 o->label->name, tensor_text(ctx, a, labels));
	pai_arena_free(a);
	return st;
}

static void fill(const struct pai_feed *f, const int64_t *index, int n)
{
	const uint8_t *from = f->from->data;
	uint8_t *to = f->to->data;
	for (int i = 0; i < n; i++) {
		const uint8_t *sample = from + (size_t)index[i] * f->from_bytes;
		if (f->convert)
			f->convert(sample, to + (size_t)i * f->to_bytes, f->n);
		else
			pai_copy(to + (size_t)i * f->to_bytes, sample, f->from_bytes);
	}
	f->to->dims[0] = n;
	f->to->nbytes = (size_t)n * f->to_bytes;
}

void pai_batch_fill(pai_batcher *b, const int64_t *index, int n)
{
	for (int i = 0; i <= b->n_inputs; i++)
		fill(&b->feeds[i], index, n);
}

bool pai_batch_not_finite(const pai_batcher *b, int n, int *sample, int *input)
{
	for (int i = 0; i <= b->n_inputs; i++) {
		const pai_tensor *t = b->feeds[i].to;
		const int64_t each = (int64_t)b->feeds[i].n;
		for (int64_t k = 0; t->dtype == PAI_FLOAT && k < n * each; k++)
			if (!isfinite(((const float *)t->data)[k])) {
				*sample = (int)(k / each);
				*input = i;
				return true;
			}
	}
	return false;
}

int64_t pai_fixed_batch(const pai_model *m)
{
	pai_value *const *inputs;
	int n = pai_model_inputs(m, &inputs);
	for (int i = 0; i < n; i++)
		if (inputs[i]->type.rank > 0 && inputs[i]->type.dims[0] > 0)
			return inputs[i]->type.dims[0];
	return 0;
}
