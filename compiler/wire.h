/* wire.h -- protobuf bytes, for the files that read and write them: wire.c, import.c, export.c,
 * external.c. Nothing else sees the generated messages. */
#ifndef PAI_WIRE_H
#define PAI_WIRE_H

#include "compiler/compiler.h"
#include "schemas/onnx.pb-c.h"

/* A payload of raw_data that is not decoded but pointed at. In the skeleton a mark of PAI_MARK
 * bytes stands in its place, the index of the blob in little-endian. Payloads of exactly that
 * length are blobs too, so that a mark is never mistaken. */
enum { PAI_MARK = 5, PAI_BLOB_BYTES = 1024 };

typedef struct pai_wire_patch { /* a length that is another one in the skeleton */
	size_t at, width;       /* of its varint in the file */
	size_t n;               /* in the skeleton */
	int blob;               /* whose length it is; -1: of a message */
} pai_wire_patch;

typedef struct pai_wire {     /* what the check found */
	const uint8_t *bytes; /* the file */
	size_t n;
	PAI_VEC(pai_wire_blob) blobs;    /* in file order */
	PAI_VEC(pai_wire_patch) patches; /* in file order */
	size_t n_messages;
	size_t memory; /* what decoding the skeleton takes, estimated from above */
} pai_wire;

/* Checks and lists; lists live in `a`. */
PAI_MUST_USE pai_status pai_wire_scan(pai_ctx *ctx, pai_arena *a, const char *file,
				      const ProtobufCMessageDescriptor *type, const void *bytes,
				      size_t n, pai_wire *out);
/* Decodes what has passed pai_wire_scan; the message lives in `a`, and raw_data of blobs points
 * into the file. */
PAI_MUST_USE pai_status pai_wire_decode(pai_ctx *ctx, pai_arena *a, const char *file,
					const ProtobufCMessageDescriptor *type, const void *bytes,
					size_t n, ProtobufCMessage **out);

/* ---- import_tensor.c ---- */

/* Type, shape and contents. Contents point into the message or the file where their layout is that
 * of raw_data; those of external data are left out (external.c). `at` for messages. */
PAI_MUST_USE pai_status pai_import_tensor(pai_ctx *ctx, pai_arena *a, pai_where at,
					  const Onnx__TensorProto *p, pai_tensor **out);
/* As a dense tensor; without contents where those are larger than folded_bytes. */
PAI_MUST_USE pai_status pai_import_sparse(pai_ctx *ctx, pai_arena *a, pai_where at,
					  const Onnx__SparseTensorProto *p, pai_tensor **out);
void pai_import_type(pai_ctx *ctx, pai_arena *a, const Onnx__TypeProto *p, pai_type *out);
/* Is the message of that type? Origins are untyped. */
bool pai_origin_is(const void *origin, const ProtobufCMessageDescriptor *type);

/* ---- external.c ---- */

/* The value of an entry of pai_tensor.external, NULL: none. */
const char *pai_external_location(const pai_tensor *t);

typedef struct pai_stored { /* a tensor in a data file that is to be written */
	const pai_tensor *tensor;
	uint64_t offset;
} pai_stored;

/* A data file beside the output, filled while the messages are built. */
typedef struct pai_store {
	pai_external_mode mode;
	const char
		*prefix; /* SHARE: from the output's folder to the input's, "" or ending in '/' */
	char *location;  /* [PAI_LOCATION]; known when all tensors are placed, read when packed */
	uint64_t size;
	PAI_VEC(pai_stored) at;
} pai_store;

enum { PAI_LOCATION = 300 };

/* Gives the tensor a place and returns its offset. */
uint64_t pai_store_add(pai_arena *a, pai_store *s, const pai_tensor *t);
/* Names and writes the data file beside `path`; nothing where nothing is stored. */
PAI_MUST_USE pai_status pai_store_write(pai_ctx *ctx, pai_store *s, const char *path,
					const char *name);
/* Copies the data files of an unchanged model beside its copy under their own names. *out is false,
 * and nothing is written, where that would replace another file. */
PAI_MUST_USE pai_status pai_external_copy(const pai_model *m, const char *path, bool *out);
/* Calls fn for every tensor of the model, `at` for messages. */
PAI_MUST_USE pai_status pai_model_each_tensor(const pai_model *m,
					      pai_status (*fn)(void *payload, pai_where at,
							       pai_tensor *t),
					      void *payload);

/* ---- export_text.c ---- */

/* `prefix` as in pai_store. */
PAI_MUST_USE pai_status pai_text_write(const pai_model *m, const char *path, const char *prefix,
				       const pai_write_options *o);

/* ---- build.c ---- */

/* The model as messages; what is as it was read is the message it was read from. */
Onnx__ModelProto *pai_build_model(pai_arena *a, const pai_model *m, pai_store *store);

#endif
