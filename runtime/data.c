/* data.c -- data sets: named arrays whose axis 0 counts samples.
 *
 * Readers (readers.def) turn a file or folder into fields; here one is chosen by content, the
 * samples asked for are cut out, and fields are matched to a model's inputs. Types are converted
 * batch by batch (batch.c), so that a set stays in memory as it is stored.
 */
#include "runtime/runtime.h"
#include <string.h>
#include <sys/stat.h>

#define READER(x) extern const pai_reader pai_reader_##x;
#include "runtime/readers.def"
#undef READER

static const pai_reader *const readers[] = {
#define READER(x) &pai_reader_##x,
#include "runtime/readers.def"
#undef READER
	NULL,
};

const pai_reader *pai_reader_get(int i)
{
	return pai_table_get(PAI_TABLE_OF_POINTERS(readers), i);
}

void pai_dataset_add(pai_dataset *d, const char *name, const pai_tensor *t)
{
	pai_field *now = PAI_NEWS(d->arena, pai_field, d->n_fields + 1);
	pai_copy(now, d->fields, sizeof *now * (size_t)d->n_fields);
	now[d->n_fields] = (pai_field){name, *t};
	now[d->n_fields].tensor.name = name;
	d->fields = now;
	d->n_fields++;
}

static bool exists(const char *path)
{
	struct stat st;
	return stat(path, &st) == 0;
}

static bool is_folder(const char *path)
{
	struct stat st;
	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Reads with the first reader that takes what it sees. */
static pai_status read_any(pai_ctx *ctx, const char *path, pai_dataset *d)
{
	pai_file f = {0};
	if (!is_folder(path)) {
		const char *comma = exists(path) ? NULL : strchr(path, ',');
		const char *first =
			comma ? pai_arena_strndup(d->arena, path, (size_t)(comma - path)) : path;
		PAI_TRY(pai_file_open(ctx, d->arena, first, &f));
	}
	static const uint8_t none[1];
	const uint8_t *head = is_folder(path) ? NULL : f.data ? f.data : none;
	for (int i = 0; readers[i]; i++)
		if (readers[i]->matches(path, head, f.size))
			return readers[i]->read(ctx, path, d);
	return pai_fail(ctx, PAI_E_no_reader, pai_at_file(path), "is no data set of a known form");
}

pai_status pai_tensors_read(pai_ctx *ctx, pai_arena *a, const char *path, pai_tensor ***out, int *n)
{
	pai_dataset d = {.arena = a, .path = path};
	PAI_TRY(read_any(ctx, path, &d));
	pai_tensor **t = PAI_NEWS(a, pai_tensor *, d.n_fields + 1);
	for (int i = 0; i < d.n_fields; i++)
		t[i] = &d.fields[i].tensor;
	*out = t;
	*n = d.n_fields;
	return PAI_OK;
}

/* Digits up to `end`; false when there are none or too many. */
static bool read_count(const char *s, const char *end, int64_t *out)
{
	if (s == end || end - s > 18)
		return false;
	int64_t v = 0;
	for (; s < end; s++) {
		if (*s < '0' || *s > '9')
			return false;
		v = v * 10 + (*s - '0');
	}
	*out = v;
	return true;
}

/* Splits "name:N" or "name:A-B"; *last is -1 where no range is given. */
static const char *split_range(pai_arena *a, const char *spec, int64_t *first, int64_t *last)
{
	const char *colon = strrchr(spec, ':');
	*first = 0;
	*last = -1;
	if (!colon || exists(spec))
		return spec;
	const char *end = spec + strlen(spec), *dash = strchr(colon, '-');
	bool range = dash ? read_count(colon + 1, dash, first) && read_count(dash + 1, end, last)
			  : read_count(colon + 1, end, last);
	if (range)
		return pai_arena_strndup(a, spec, (size_t)(colon - spec));
	*first = 0;
	*last = -1;
	return spec;
}

static pai_status count_samples(pai_ctx *ctx, pai_dataset *d)
{
	for (int i = 0; i < d->n_fields; i++) {
		const pai_tensor *t = &d->fields[i].tensor;
		if (t->rank < 1)
			return pai_fail(
				ctx, PAI_E_samples, pai_at_file(d->path),
				"field \"%s\" is a single number, without an axis of samples",
				d->fields[i].name);
		if (i > 0 && t->dims[0] != d->n)
			return pai_fail(ctx, PAI_E_samples, pai_at_file(d->path),
					"field \"%s\" has %lld samples, field \"%s\" has %lld",
					d->fields[0].name, (long long)d->n, d->fields[i].name,
					(long long)t->dims[0]);
		d->n = t->dims[0];
	}
	return PAI_OK;
}

static pai_status cut(pai_ctx *ctx, pai_dataset *d, int64_t first, int64_t last)
{
	if (last < 0)
		return PAI_OK;
	if (first > last || last > d->n)
		return pai_fail(ctx, PAI_E_samples, pai_at_file(d->path),
				"samples %lld to %lld are asked for, the set has %lld",
				(long long)first, (long long)last, (long long)d->n);
	for (int i = 0; i < d->n_fields; i++) {
		pai_tensor *t = &d->fields[i].tensor;
		size_t row = d->n ? t->nbytes / (size_t)d->n : 0;
		t->dims = pai_arena_dup(d->arena, t->dims, sizeof *t->dims * (size_t)t->rank);
		t->dims[0] = last - first;
		if (t->data)
			t->data = (uint8_t *)t->data + row * (size_t)first;
		t->nbytes = row * (size_t)(last - first);
	}
	d->n = last - first;
	return PAI_OK;
}

pai_status pai_dataset_open(pai_ctx *ctx, const char *spec, pai_dataset **out)
{
	pai_arena *a = pai_arena_new(ctx);
	pai_dataset *d = PAI_NEW(a, pai_dataset);
	int64_t first, last;
	d->arena = a;
	d->path = split_range(a, pai_arena_strdup(a, spec), &first, &last);
	pai_status status = read_any(ctx, d->path, d);
	if (status == PAI_OK)
		status = count_samples(ctx, d);
	if (status == PAI_OK)
		status = cut(ctx, d, first, last);
	if (status == PAI_OK && d->n == 0)
		status = pai_fail(ctx, PAI_E_samples, pai_at_file(d->path), "has no samples");
	if (status != PAI_OK) {
		pai_arena_free(a);
		return status;
	}
	*out = d;
	return PAI_OK;
}

void pai_dataset_free(pai_dataset *d)
{
	if (d)
		pai_arena_free(d->arena);
}
