/* external.c -- contents of tensors in files beside the model.
 *
 * Reading: locations are opened below the model's folder (io.c), offsets and lengths are checked
 * against the file and against the shape, and the tensors point into the mapped files.
 * Writing: names and offsets are ours, never those of the input. A data file gets a name of its
 * contents and is durable before the model that names it is: a crash leaves the old pair or the new
 * one. Older data files stay, since another model may name them.
 */
#include "compiler/ctx.h"
#include "compiler/wire.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

static bool decimal(const char *s, uint64_t *out)
{
	uint64_t v = 0;
	if (!*s)
		return false;
	for (; *s; s++) {
		if (*s < '0' || *s > '9' || __builtin_mul_overflow(v, 10u, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*s - '0'), &v))
			return false;
	}
	*out = v;
	return true;
}

typedef struct extent { /* where contents lie */
	const char *location;
	uint64_t offset, length;
} extent;

const char *pai_external_location(const pai_tensor *t)
{
	return t->external ? pai_prop_get(t->external, "location") : NULL;
}

/* Entries other than these three (checksum, what other tools note) are kept, not used. */
static pai_status find_extent(pai_ctx *ctx, pai_where at, const pai_tensor *t, extent *out)
{
	static const char *const keys[] = {"location", "offset", "length"};
	pai_arena *a = ctx->own->arena;
	for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
		int given = 0;
		for (int i = 0; i < t->external->n; i++)
			given += strcmp(t->external->at[i].key, keys[k]) == 0;
		if (given > 1)
			return pai_fail(ctx, PAI_E_external_entry, at,
					"external data: %s is given twice", keys[k]);
	}
	const char *offset = pai_prop_get(t->external, "offset");
	const char *length = pai_prop_get(t->external, "length");
	*out = (extent){.location = pai_external_location(t), .length = t->nbytes};
	if (!out->location || !*out->location)
		return pai_fail(ctx, PAI_E_external_entry, at, "external data has no location");
	if (strstr(out->location, "_ORT_MEM_ADDR_"))
		return pai_fail(ctx, PAI_E_external_path, at,
				"external data at an address of another program's memory");
	if (offset && !decimal(offset, &out->offset))
		return pai_fail(ctx, PAI_E_external_entry, at, "external data: offset \"%s\"",
				pai_escape(a, offset));
	if (length && !decimal(length, &out->length))
		return pai_fail(ctx, PAI_E_external_entry, at, "external data: length \"%s\"",
				pai_escape(a, length));
	if (out->length != t->nbytes)
		return pai_fail(ctx, PAI_E_external_entry, at,
				"external data: length %" PRIu64 ", type and shape need %zu",
				out->length, t->nbytes);
	return PAI_OK;
}

typedef struct tensor_walk {
	pai_status (*fn)(void *payload, pai_where at, pai_tensor *t);
	void *payload;
} tensor_walk;

static pai_status walk_attr(const tensor_walk *w, const pai_node *n, const pai_attr *a)
{
	pai_where at = pai_at_attr(n, a->name);
	if (a->type == PAI_ATTR_TENSOR && a->t)
		return w->fn(w->payload, at, a->t);
	if (a->type == PAI_ATTR_TENSORS)
		for (int64_t i = 0; i < a->list.n; i++)
			PAI_TRY(w->fn(w->payload, at, a->list.t[i]));
	return PAI_OK;
}

static pai_status walk_graph(void *payload, pai_graph *g)
{
	const tensor_walk *w = payload;
	for (int i = 0; i < g->inits.n; i++)
		PAI_TRY(w->fn(w->payload, pai_at_value(g->inits.at[i]), g->inits.at[i]->init));
	for (int i = 0; i < g->nodes.n; i++)
		for (int k = 0; k < g->nodes.at[i]->n_attrs; k++)
			PAI_TRY(walk_attr(w, g->nodes.at[i], &g->nodes.at[i]->attrs[k]));
	return PAI_OK;
}

pai_status pai_model_each_tensor(const pai_model *m,
				 pai_status (*fn)(void *payload, pai_where at, pai_tensor *t),
				 void *payload)
{
	tensor_walk w = {fn, payload};
	for (int i = 0; i < m->functions.n; i++) {
		const pai_function *f = m->functions.at[i];
		for (int k = 0; k < f->n_attrs; k++)
			PAI_TRY(walk_attr(&w, NULL, &f->attrs[k]));
		PAI_TRY(pai_graph_walk(f->graph, walk_graph, &w));
	}
	return pai_graph_walk(m->graph, walk_graph, &w);
}

typedef struct reading {
	pai_model *m;
	pai_map *files; /* by location */
	uint64_t n_files;
} reading;

static pai_status open_once(reading *r, const char *location, pai_file **out)
{
	pai_ctx *ctx = r->m->ctx;
	*out = pai_map_get(r->files, location);
	if (*out)
		return PAI_OK;
	if (++r->n_files > ctx->limits.external_files)
		return pai_fail(ctx, PAI_E_limit, pai_at_file(r->m->path),
				"more data files than the limit external_files of %" PRIu64,
				ctx->limits.external_files);
	pai_file *f = PAI_NEW(r->m->arena, pai_file);
	PAI_TRY(pai_file_open_beside(ctx, r->m->arena, r->m->path, location, f));
	pai_map_put(r->files, location, f);
	*out = f;
	return PAI_OK;
}

static pai_status read_tensor(void *payload, pai_where at, pai_tensor *t)
{
	reading *r = payload;
	pai_file *f = NULL;
	extent e = {0};
	if (!t->external)
		return PAI_OK;
	at.file = r->m->path;
	PAI_TRY(find_extent(r->m->ctx, at, t, &e));
	if (!t->nbytes)
		return PAI_OK;
	PAI_TRY(open_once(r, e.location, &f));
	if (e.length > f->size || e.offset > f->size - e.length)
		return pai_fail(r->m->ctx, PAI_E_external_entry, at,
				"external data: %" PRIu64 " bytes at %" PRIu64
				" are not in \"%s\", which has %zu",
				e.length, e.offset, pai_escape(r->m->arena, e.location), f->size);
	t->data = (void *)(f->data + e.offset);
	return PAI_OK;
}

pai_status pai_external_read(pai_model *m)
{
	reading r = {.m = m, .files = pai_map_new(m->arena)};
	return pai_model_each_tensor(m, read_tensor, &r);
}

uint64_t pai_store_add(pai_arena *a, pai_store *s, const pai_tensor *t)
{
	const uint64_t large = 1 << 20, page = 64 * 1024, small = 64;
	uint64_t align = t->nbytes >= large ? page : small;
	pai_stored placed = {t, (s->size + align - 1) / align * align};
	s->size = placed.offset + t->nbytes;
	PAI_PUSH(a, s->at, placed);
	return placed.offset;
}

/* Checksum of the file to be, over contents and places. */
static uint32_t contents_sum(pai_ctx *ctx, const pai_store *s)
{
	const size_t piece = 8 << 20;
	uLong sum = crc32(0, NULL, 0);
	for (int i = 0; i < s->at.n; i++) {
		const pai_stored *p = &s->at.at[i];
		const uint8_t *at = p->tensor->data;
		sum = crc32(sum, (const Bytef *)&p->offset, sizeof p->offset);
		for (size_t done = 0, n; done < p->tensor->nbytes; done += n) {
			n = p->tensor->nbytes - done < piece ? p->tensor->nbytes - done : piece;
			sum = crc32(sum, at + done, (uInt)n);
			pai_file_drop(ctx, at + done, n);
		}
	}
	return (uint32_t)sum;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

static pai_status name_store(pai_ctx *ctx, pai_store *s, const char *path, const char *name)
{
	const char *base = base_name(path);
	if (!name) {
		size_t n = strlen(base);
		if (n > 5 && strcmp(base + n - 5, ".onnx") == 0)
			n -= 5;
		if (n > 200)
			n = 200;
		snprintf(s->location, PAI_LOCATION, "%.*s.%08" PRIx32 ".data", (int)n, base,
			 contents_sum(ctx, s));
		return PAI_OK;
	}
	bool plain = *name && !strchr(name, '/') && strcmp(name, ".") != 0 &&
		     strcmp(name, "..") != 0 && strlen(name) < 256 && strcmp(name, base) != 0;
	if (!plain)
		return pai_fail(ctx, PAI_E_external_output, pai_at_file(path),
				"the data file cannot be named \"%s\"", name);
	snprintf(s->location, PAI_LOCATION, "%s", name);
	return PAI_OK;
}

pai_status pai_store_write(pai_ctx *ctx, pai_store *s, const char *path, const char *name)
{
	static const uint8_t zeros[4096];
	if (!s->at.n)
		return PAI_OK;
	PAI_TRY(name_store(ctx, s, path, name));
	pai_arena *a = pai_arena_new(ctx);
	pai_writer *w = NULL;
	const char *file =
		pai_arena_printf(a, "%.*s%s", (int)(base_name(path) - path), path, s->location);
	pai_status status = pai_writer_open(ctx, file, &w);
	for (int i = 0; status == PAI_OK && i < s->at.n; i++) {
		const pai_stored *p = &s->at.at[i];
		for (uint64_t gap; (gap = p->offset - pai_writer_tell(w)) > 0;)
			pai_writer_put(w, zeros, gap < sizeof zeros ? gap : sizeof zeros);
		pai_writer_put(w, p->tensor->data, p->tensor->nbytes);
	}
	if (status == PAI_OK)
		status = pai_writer_commit(w);
	pai_arena_free(a);
	return status;
}

typedef struct copying {
	const pai_model *m;
	pai_arena *arena;
	const char *path; /* of the output model */
	pai_map *seen;    /* by location */
	bool write;       /* else only looked whether it can be done */
	bool possible;
} copying;

static bool same_bytes(pai_ctx *ctx, const char *path, const pai_file *f)
{
	pai_arena *a = pai_arena_new(ctx);
	pai_file other = {0};
	bool same = pai_file_open(ctx, a, path, &other) == PAI_OK && other.size == f->size &&
		    memcmp(other.data, f->data, f->size) == 0;
	pai_file_drop(ctx, f->data, f->size);
	pai_arena_free(a);
	return same;
}

/* Nothing is in the way of a copy, or the file is there already. */
static bool is_there(const copying *c, const char *to, const pai_file *f, bool *can)
{
	struct stat st, from;
	*can = true;
	if (stat(to, &st) != 0)
		return false;
	if (fstat(f->fd, &from) == 0 && st.st_dev == from.st_dev && st.st_ino == from.st_ino)
		return true;
	*can = S_ISREG(st.st_mode) && (size_t)st.st_size == f->size && same_bytes(c->m->ctx, to, f);
	return *can;
}

static pai_status copy_file_of(void *payload, pai_where at, pai_tensor *t)
{
	copying *c = payload;
	(void)at;
	if (!t->external || !t->nbytes)
		return PAI_OK;
	const char *base = base_name(c->path), *location = pai_external_location(t);
	const pai_file *f = t->data ? pai_file_holding(c->m->ctx, t->data, t->nbytes) : NULL;
	if (!f || strcmp(location, base) == 0) {
		c->possible = false;
		return PAI_OK;
	}
	if (pai_map_get(c->seen, location))
		return PAI_OK;
	pai_map_put(c->seen, location, (void *)f);
	const char *to =
		pai_arena_printf(c->arena, "%.*s%s", (int)(base - c->path), c->path, location);
	bool can, there = is_there(c, to, f, &can);
	can = can && (there || !strchr(location, '/')); /* folders are not made */
	c->possible = c->possible && can;
	if (!c->write || there)
		return PAI_OK;
	pai_writer *w = NULL;
	PAI_TRY(pai_writer_open(c->m->ctx, to, &w));
	pai_writer_put(w, f->data, f->size);
	return pai_writer_commit(w);
}

pai_status pai_external_copy(const pai_model *m, const char *path, bool *out)
{
	copying c = {.m = m, .arena = pai_arena_new(m->ctx), .path = path, .possible = true};
	pai_status s = PAI_OK;
	for (int pass = 0; pass < 2 && s == PAI_OK && c.possible; pass++) {
		c.write = pass == 1;
		c.seen = pai_map_new(c.arena);
		s = pai_model_each_tensor(m, copy_file_of, &c);
	}
	pai_arena_free(c.arena);
	*out = c.possible;
	return s;
}
