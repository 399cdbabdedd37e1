"""counterfoil.h for Python, by ctypes: check and verify licenses, and read from a title in the library."""

import ctypes as c
import json

ABI = 1


class Refused(Exception):
    """Not OK: `code` is stable, for programs; `hint` is what people can do; `kind` as the header has it."""

    def __init__(self, kind, code, message, hint):
        super().__init__(message)
        self.kind, self.code, self.hint = kind, code, hint


class License:
    """What a license that is good says: `token` as it was signed, `claims` as in docs/licenses.md, `attributes` the feature flags."""

    def __init__(self, token, claims, grace_until):
        self.token, self.claims, self.attributes, self.grace_until = token, claims, claims.get("attributes", {}), grace_until


class Counterfoil:
    """The library at `path`."""

    def __init__(self, path):
        self._library = library = c.CDLL(str(path))
        text, handle, out = c.c_char_p, c.c_void_p, c.POINTER(c.c_void_p)
        signatures = {
            "abi_version": (c.c_uint32,),
            "check": (c.c_int32, text, text, text, text, out, out),
            "verify": (c.c_int32, text, text, text, text, c.c_int64, out, out),
            "license_token": (text, handle),
            "license_claims": (text, handle),
            "license_grace_until": (c.c_int64, handle),
            "license_free": (None, handle),
            "open": (c.c_int32, text, text, text, text, out, out, out),
            "close": (None, handle),
            "file_open": (c.c_int32, handle, text, out, out),
            "file_size": (c.c_uint64, handle),
            "file_read": (c.c_int32, handle, c.c_uint64, c.c_char_p, c.c_size_t, c.POINTER(c.c_size_t), out),
            "file_close": (None, handle),
            "list": (c.c_int32, handle, text, out, out),
            "entries_count": (c.c_size_t, handle),
            "entries_name": (text, handle, c.c_size_t),
            "entries_kind": (c.c_int32, handle, c.c_size_t),
            "entries_size": (c.c_uint64, handle, c.c_size_t),
            "entries_free": (None, handle),
            "error_code": (text, handle),
            "error_message": (text, handle),
            "error_hint": (text, handle),
            "error_free": (None, handle),
        }
        for name, (answer, *arguments) in signatures.items():
            function = getattr(library, f"counterfoil_{name}")
            function.restype, function.argtypes = answer, arguments
            setattr(self, f"_{name}", function)
        if self._abi_version() != ABI:
            raise ImportError(f"{path} is of another version")

    def check(self, title, keys=None, library=None, home=None):
        """The license that the title may be started by on this device now; None where it was copied from a medium."""
        license = c.c_void_p()
        self._ask(self._check, _text(title), _text(keys), _text(library), _text(home), c.byref(license))
        return self._taken(license)

    def verify(self, token, keys, title, device=None, at=0):
        """The license, if it is good for the title on that device (this one) at that time (now)."""
        license = c.c_void_p()
        self._ask(self._verify, _text(token), _text(keys), _text(title), _text(device), at, c.byref(license))
        return self._taken(license)

    def open(self, title, keys=None, library=None, home=None):
        """The title, to be read from; to be used as `with counterfoil.open(...) as opened`."""
        license, opened = c.c_void_p(), c.c_void_p()
        self._ask(self._open, _text(title), _text(keys), _text(library), _text(home), c.byref(license), c.byref(opened))
        return Opened(self, opened, self._taken(license))

    def _ask(self, function, *arguments):
        error = c.c_void_p()
        kind = function(*arguments, c.byref(error))
        if kind != 0:
            said = [read(error).decode() for read in (self._error_code, self._error_message, self._error_hint)]
            self._error_free(error)
            raise Refused(kind, *said)

    def _taken(self, license):
        if not license:
            return None
        try:
            claims = json.loads(self._license_claims(license))
            return License(self._license_token(license).decode(), claims, self._license_grace_until(license))
        finally:
            self._license_free(license)


class Opened:
    """A title to be read from, and the `license` that it was opened by."""

    def __init__(self, library, handle, license):
        self._counterfoil, self._handle, self.license = library, handle, license

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._counterfoil._close(self._handle)
        self._handle = c.c_void_p()

    def read(self, path, offset=0, length=None):
        """Bytes of a file, all that follow `offset` where no `length` is given."""
        own, file = self._counterfoil, c.c_void_p()
        own._ask(own._file_open, self._handle, _text(path), c.byref(file))
        try:
            rest = max(own._file_size(file) - offset, 0)
            length = rest if length is None else min(length, rest)
            buffer, count = c.create_string_buffer(length), c.c_size_t()
            own._ask(own._file_read, file, offset, buffer, length, c.byref(count))
            return buffer.raw[: count.value]
        finally:
            own._file_close(file)

    def list(self, directory=""):
        """What is in a directory: name, kind (1 a file, 2 a directory, 3 a link), bytes."""
        own, entries = self._counterfoil, c.c_void_p()
        own._ask(own._list, self._handle, _text(directory), c.byref(entries))
        try:
            about = (own._entries_name, own._entries_kind, own._entries_size)
            found = [tuple(ask(entries, index) for ask in about) for index in range(own._entries_count(entries))]
            return [(name.decode(), kind, size) for name, kind, size in found]
        finally:
            own._entries_free(entries)


def _text(text):
    return None if text is None else str(text).encode()
