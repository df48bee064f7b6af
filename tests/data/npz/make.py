"""Writes the arrays and archives that test_npz.c reads, sound and hostile ones. Needs numpy."""
import io, struct, zipfile, zlib
import numpy as np

TYPES = "f2 f4 f8 i1 i2 i4 i8 u1 u2 u4 u8 b1".split()


def array(t):
    return (np.arange(6) % 2 == 0 if t == "b1" else np.arange(6)).astype(t).reshape(2, 3)


def npy(a, **kw):
    f = io.BytesIO()
    np.save(f, a, **kw)
    return f.getvalue()


def save(name, data):
    with open(name, "wb") as f:
        f.write(data)


sound = {t: array(t) for t in TYPES}
sound["scalar"] = np.float32(2.5)
sound["empty"] = np.zeros((0, 4), np.float32)
sound["fortran"] = np.asfortranarray(np.arange(24, dtype=np.float32).reshape(2, 3, 4))
np.savez("sound_stored.npz", **sound)
np.savez_compressed("sound_deflated.npz", **sound)
save("plain.npy", npy(np.arange(6, dtype=np.float32).reshape(2, 3)))
save("version2.npy", b"\x93NUMPY\x02\x00" + struct.pack("<I", 64) +
     b"{'shape': (3,), 'fortran_order': False, 'descr': '<i4'}".ljust(63) + b"\n" +
     np.arange(3, dtype="<i4").tobytes())

save("bad_object.npy", npy(np.array([{}, {}]), allow_pickle=True))
save("bad_big_endian.npy", npy(np.arange(3, dtype=">f4")))
save("bad_struct.npy", npy(np.zeros(2, [("a", "<f4")])))


def header(text, data=b"\0" * 16):
    text = text.encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


D = "{'descr': '<f4', 'fortran_order': False, 'shape': %s}"
save("bad_huge.npy", header(D % "(8000000000,)"))
save("bad_overflow.npy", header(D % "(4611686018427387904, 4611686018427387904)"))
save("bad_size_text.npy", header(D % "(99999999999999999999999,)"))
save("bad_negative.npy", header(D % "(-4,)"))
save("bad_short.npy", header(D % "(5,)"))
save("bad_long.npy", header(D % "(3,)"))
save("bad_twice.npy", header("{'shape': (4,), 'shape': (4,), 'descr': '<f4', 'fortran_order': False}"))
save("bad_missing.npy", header("{'descr': '<f4', 'shape': (4,)}"))
save("bad_key.npy", header("{'descr': '<f4', 'fortran_order': False, 'shape': (4,), 'x': 1}"))
save("bad_code.npy", header("{'descr': '<f4', 'fortran_order': False, 'shape': (__import__('os'),)}"))
save("bad_header_length.npy", b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31) + b"{}")
save("bad_header_cap.npy", b"\x93NUMPY\x02\x00" + struct.pack("<I", 10001) +
     (D % "(4,)").encode().ljust(10001) + b"\0" * 16)
save("bad_rank.npy", header(D % ("(" + "1," * 65 + ")"), b"\0" * 4))
save("bad_version.npy", b"\x93NUMPY\x09\x00" + header(D % "(4,)")[8:])


def archive(members, method=zipfile.ZIP_DEFLATED):
    f = io.BytesIO()
    with zipfile.ZipFile(f, "w", method) as z:
        for name, data in members:
            z.writestr(zipfile.ZipInfo(name), data, method)
    return bytearray(f.getvalue())


zeros = npy(np.zeros(1 << 20, np.float32))  # 4 MiB of zeros, 4 KiB deflated


def overlap(count):
    """One deflated member that `count` directory entries point at."""
    body = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = body.compress(zeros) + body.flush()
    crc, name = zlib.crc32(zeros), b"%04d.npy"
    local = struct.pack("<IHHHHHIIIHH", 0x04034b50, 20, 0, 8, 0, 33, crc, len(packed), len(zeros), 8, 0)
    out = local + name % 0 + packed
    start = len(out)
    for i in range(count):
        out += struct.pack("<IHHHHHHIIIHHHHHII", 0x02014b50, 20, 20, 0, 8, 0, 33, crc, len(packed),
                           len(zeros), 8, 0, 0, 0, 0, 0, 0) + name % i
    return out + struct.pack("<IHHHHIIH", 0x06054b50, 0, 0, count, count, len(out) - start, start, 0)


save("bad_overlap.npz", overlap(300))
two = [("a.npy", npy(np.arange(4, dtype=np.float32))), ("b.npy", npy(np.arange(3, dtype=np.float32)))]
save("bad_duplicate.npz", archive([two[0], two[0]]))
save("bad_not_array.npz", archive([("a.txt", b"hello")]))
save("bad_pickle.npz", archive([("a.npy", npy(np.array([{}, {}]), allow_pickle=True))]))
save("bad_bzip2.npz", archive(two, zipfile.ZIP_BZIP2))
a = archive(two, zipfile.ZIP_STORED)
bad = bytearray(a); bad[a.index(b"PK\1\2") + 8] |= 1; bad[6] |= 1
save("bad_encrypted.npz", bad)
bad = bytearray(a); bad[30 + 5 + 140] ^= 1
save("bad_checksum.npz", bad)
c = archive(two)
for name, grow in (("bad_claims_more.npz", 100), ("bad_ratio.npz", 1 << 24)):
    bad = bytearray(c)
    at = c.index(b"PK\1\2")
    size = struct.unpack_from("<I", c, at + 24)[0] + grow
    struct.pack_into("<I", bad, at + 24, size)
    struct.pack_into("<I", bad, 22, size)
    save(name, bad)
bad = bytearray(c); at = c.index(b"PK\1\2")
struct.pack_into("<I", bad, at + 24, 1)
save("bad_central_differs.npz", bad)
save("bad_empty.npz", b"PK\5\6" + b"\0" * 10)
