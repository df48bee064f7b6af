/* export.c -- pai_model to a file.
 *
 * A model that nothing has changed is its own bytes, copied by the kernel. Any other is built as
 * messages (build.c) and packed straight into the writer: contents of tensors go from the mapped
 * input to the output without passing through our memory.
 */
#include "compiler/wire.h"
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

typedef struct sink {
	ProtobufCBuffer base;
	pai_writer *writer;
} sink;

static void sink_append(ProtobufCBuffer *buffer, size_t n, const uint8_t *bytes)
{
	pai_writer_put(((sink *)buffer)->writer, bytes, n);
}

static pai_status write_message(pai_ctx *ctx, const char *path, const ProtobufCMessage *p)
{
	pai_writer *w = NULL;
	size_t n = protobuf_c_message_get_packed_size(p);
	if (n > INT32_MAX)
		return pai_fail(ctx, PAI_E_too_large, pai_at_file(path),
				"the model takes %zu bytes, the format holds %d", n, INT32_MAX);
	PAI_TRY(pai_writer_open(ctx, path, &w));
	sink s = {{sink_append}, w};
	protobuf_c_message_pack_to_buffer(p, &s.base);
	return pai_writer_commit(w);
}

static pai_status write_source(const pai_model *m, const char *path)
{
	pai_writer *w = NULL;
	PAI_TRY(pai_writer_open(m->ctx, path, &w));
	pai_writer_put(w, m->source.data, m->source.size);
	return pai_writer_commit(w);
}

static bool has_extension(const char *path, const char *extension)
{
	size_t n = strlen(path), e = strlen(extension);
	return n > e && strcmp(path + n - e, extension) == 0;
}

static pai_status see_external(void *payload, pai_where at, pai_tensor *t)
{
	(void)at;
	*(bool *)payload |= t->external != NULL;
	return PAI_OK;
}

static bool has_external(const pai_model *m)
{
	bool found = false;
	return pai_model_each_tensor(m, see_external, &found) == PAI_OK && found;
}

/* The folder of a path without links, ending in '/'; false where it does not exist. */
static bool real_folder(const char *path, char *out)
{
	char folder[PATH_MAX];
	const char *slash = strrchr(path, '/');
	size_t n = slash ? (size_t)(slash - path) + 1 : 0;
	if (n >= sizeof folder - 2)
		return false;
	memcpy(folder, path, n);
	memcpy(folder + n, ".", 2);
	if (!realpath(folder, out))
		return false;
	n = strlen(out);
	if (n == 0 || out[n - 1] != '/')
		memcpy(out + n, "/", 2);
	return true;
}

/* The path from the output's folder down to the input's, for sharing its data files. */
static pai_status share_prefix(const pai_model *m, pai_arena *a, const char *path, const char **out)
{
	char from[PATH_MAX + 2], to[PATH_MAX + 2];
	*out = "";
	if (!m->path || !real_folder(m->path, from) || !real_folder(path, to) ||
	    strncmp(from, to, strlen(to)) != 0)
		return pai_fail(m->ctx, PAI_E_external_share, pai_at_file(path),
				"a data file of the input is not below the folder of the output");
	*out = pai_arena_strdup(a, from + strlen(to));
	return PAI_OK;
}

static pai_status write_text(const pai_model *m, const char *path, const pai_write_options *o)
{
	pai_write_options how = *o;
	bool to_stdout = strcmp(path, "-") == 0;
	pai_arena *a = pai_arena_new(m->ctx);
	const char *prefix = "";
	pai_status s = PAI_OK;
	if (to_stdout && how.external == PAI_EXTERNAL_KEEP)
		how.external = PAI_EXTERNAL_NONE;
	if (to_stdout && how.external == PAI_EXTERNAL_FILE)
		s = pai_fail(m->ctx, PAI_E_external_output, pai_at_file(path),
			     "standard output has no folder for a data file");
	if (how.external == PAI_EXTERNAL_SHARE && has_external(m))
		s = share_prefix(m, a, to_stdout ? "./-" : path, &prefix);
	if (s == PAI_OK)
		s = pai_text_write(m, path, prefix, &how);
	pai_arena_free(a);
	return s;
}

static pai_status rebuild(const pai_model *m, const char *path, const pai_write_options *o)
{
	bool to_stdout = strcmp(path, "-") == 0;
	pai_arena *a = pai_arena_new(m->ctx);
	pai_store store = {.mode = o->external, .prefix = ""};
	store.location = pai_arena_alloc(a, PAI_LOCATION);
	pai_status s = PAI_OK;
	if (to_stdout && store.mode == PAI_EXTERNAL_KEEP)
		store.mode = PAI_EXTERNAL_NONE;
	if (to_stdout && store.mode == PAI_EXTERNAL_FILE)
		s = pai_fail(m->ctx, PAI_E_external_output, pai_at_file(path),
			     "standard output has no folder for a data file");
	if (store.mode == PAI_EXTERNAL_SHARE && has_external(m))
		s = share_prefix(m, a, to_stdout ? "./-" : path, &store.prefix);
	if (s == PAI_OK) {
		Onnx__ModelProto *p = pai_build_model(a, m, &store);
		s = pai_store_write(m->ctx, &store, path, o->external_name);
		if (s == PAI_OK)
			s = write_message(m->ctx, path, &p->base);
	}
	pai_arena_free(a);
	return s;
}

pai_status pai_model_write(const pai_model *m, const char *path, const pai_write_options *o)
{
	static const pai_write_options defaults = {.external = PAI_EXTERNAL_KEEP};
	if (!o)
		o = &defaults;
	bool as_read = m->text && strcmp(path, "-") == 0;
	if (o->text || as_read || has_extension(path, ".onnxtxt"))
		return write_text(m, path, o);
	bool unchanged = m->epoch == 0 && m->source.data && !m->text;
	if (!unchanged || o->external == PAI_EXTERNAL_FILE)
		return rebuild(m, path, o);
	if (!has_external(m))
		return write_source(m, path);
	bool copied = strcmp(path, "-") == 0;
	if (o->external != PAI_EXTERNAL_KEEP)
		return rebuild(m, path, o);
	if (!copied)
		PAI_TRY(pai_external_copy(m, path, &copied));
	return copied ? write_source(m, path) : rebuild(m, path, o);
}
