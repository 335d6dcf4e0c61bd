// The Python module manifold._native: buffers in, buffers out; native_engine.py is its only user.
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <chrono>
#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

#include "encode.h"
#include "passes.h"
#include "rates.h"

namespace {

using namespace genmend;

// A C-contiguous buffer held for the length of a call, at least `bytes` long.
class Buffer {
 public:
  Buffer(PyObject* object, size_t bytes, bool writable = false) {
    if (PyObject_GetBuffer(object, &view_, writable ? PyBUF_WRITABLE | PyBUF_C_CONTIGUOUS : PyBUF_C_CONTIGUOUS))
      throw std::runtime_error("");  // Python's own error is set
    if (size_t(view_.len) < bytes) {
      PyBuffer_Release(&view_);
      throw std::runtime_error("a buffer of " + std::to_string(bytes) + " bytes was expected");
    }
  }
  Buffer(Buffer&& other) noexcept : view_(other.view_) { other.view_.obj = nullptr; }
  Buffer(const Buffer&) = delete;
  ~Buffer() {
    if (view_.obj) PyBuffer_Release(&view_);
  }
  template <class T>
  T* as() const {
    return static_cast<T*>(view_.buf);
  }

 private:
  Py_buffer view_;
};

int64_t padded(int64_t n) { return (n + PANEL - 1) / PANEL * PANEL; }

PyObject* item(PyObject* tuple, Py_ssize_t at) {
  PyObject* found = PyTuple_Check(tuple) ? PyTuple_GetItem(tuple, at) : nullptr;
  if (!found) throw std::runtime_error("a longer tuple was expected");
  return found;
}

int64_t whole(PyObject* object) {
  const int64_t value = PyLong_AsLongLong(object);
  if (value == -1 && PyErr_Occurred()) throw std::runtime_error("");
  return value;
}

const Kernel& kernel_of(const char* name) {
  const Kernel* kernel = kernel_named(name);
  if (!kernel) throw std::runtime_error(std::string("this CPU has no kernel ") + name);
  return *kernel;
}

// (features, n, columns, is_float64)
struct HeldFeatures {
  explicit HeldFeatures(PyObject* tuple)
      : rows(whole(item(tuple, 1))),
        buffer(item(tuple, 0), size_t(rows) * whole(item(tuple, 2)) * (whole(item(tuple, 3)) ? 8 : 4)),
        features{buffer.as<const void>(), whole(item(tuple, 2)), whole(item(tuple, 3)) != 0} {}
  int64_t rows;
  Buffer buffer;
  Features features;
};

// (packed, bounds [5][padded], sum, id, n, words)
struct HeldCodes {
  explicit HeldCodes(PyObject* tuple, bool writable = false)
      : n(whole(item(tuple, 4))), words(whole(item(tuple, 5))),
        packed(item(tuple, 0), size_t(padded(n)) * words * 4, writable),
        bounds(item(tuple, 1), size_t(padded(n)) * 5 * 4, writable),
        sum(item(tuple, 2), size_t(padded(n)) * 4, writable), id(item(tuple, 3), size_t(n) * 8) {
    float* b = bounds.as<float>();
    const int64_t p = padded(n);
    codes = {n, words, packed.as<const uint32_t>(), b, b + p, b + 2 * p, b + 3 * p, b + 4 * p,
             sum.as<const int32_t>(), id.as<const int64_t>()};
  }
  CodeArrays arrays() {
    float* b = bounds.as<float>();
    const int64_t p = padded(n);
    return {n, words, packed.as<uint32_t>(), b, b + p, b + 2 * p, b + 3 * p, b + 4 * p, sum.as<int32_t>(),
            id.as<const int64_t>()};
  }
  int64_t n, words;
  Buffer packed, bounds, sum, id;
  Codes codes;
};

// (values, bounds [5][n], n, width)
struct HeldFine {
  explicit HeldFine(PyObject* tuple, bool writable = false)
      : n(whole(item(tuple, 2))), width(whole(item(tuple, 3))),
        values(item(tuple, 0), size_t(n) * width * 2, writable), bounds(item(tuple, 1), size_t(n) * 5 * 4, writable) {
    if (width <= 0 || width % 64) throw std::runtime_error("a width that is a multiple of 64 was expected");
    const float* b = bounds.as<const float>();
    codes = {n, width, values.as<const int16_t>(), b, b + n, b + 2 * n, b + 3 * n, b + 4 * n};
  }
  FineArrays arrays() {
    float* b = bounds.as<float>();
    return {n, width, values.as<int16_t>(), b, b + n, b + 2 * n, b + 3 * n, b + 4 * n};
  }
  int64_t n, width;
  Buffer values, bounds;
  FineCodes codes;
};

// (features tuple, codes tuple, coarse codes tuple or None, fine codes tuple or None)
struct HeldSet {
  explicit HeldSet(PyObject* tuple) : features(item(tuple, 0)), codes(item(tuple, 1)) {
    for (int64_t r = 0; r < codes.n; r++)
      if (codes.codes.id[r] < 0 || codes.codes.id[r] >= features.rows) throw std::runtime_error("an id is out of range");
    if (item(tuple, 2) != Py_None) coarse.emplace_back(item(tuple, 2));
    if (item(tuple, 3) != Py_None) fine.emplace_back(item(tuple, 3));
    if (!fine.empty() && fine[0].n != features.rows) throw std::runtime_error("as many codes as features were expected");
    set = {features.features, codes.codes, coarse.empty() ? nullptr : &coarse[0].codes,
           fine.empty() ? nullptr : &fine[0].codes};
  }
  HeldFeatures features;
  HeldCodes codes;
  std::vector<HeldCodes> coarse;
  std::vector<HeldFine> fine;
  Set set;
};

void check(const Set& x, const Set& y) {
  if (x.codes.words != y.codes.words || (x.fine && y.fine && x.fine->width != y.fine->width))
    throw std::runtime_error("codes of the same width were expected");
}

void check(const Panels& panels, int64_t n) {
  if (panels.first < 0 || panels.first >= panels.last || panels.last > padded(n) / PANEL)
    throw std::runtime_error("panels are out of range");
}

// Runs `work` without the interpreter's lock. Every quarter of a second the calling thread takes it back to see
// whether the user has interrupted, and to report progress.
template <class Work>
bool unlocked(PyObject* report, const Work& work) {
  PyThreadState* state = PyEval_SaveThread();
  auto last = std::chrono::steady_clock::now();
  const auto tick = [&](double share) {
    const auto now = std::chrono::steady_clock::now();
    if (now - last < std::chrono::milliseconds(250)) return true;
    last = now;
    PyEval_RestoreThread(state);
    bool going_on = PyErr_CheckSignals() == 0;
    if (going_on && report != Py_None) {
      PyObject* answer = PyObject_CallFunction(report, "d", share);
      going_on = answer != nullptr;
      Py_XDECREF(answer);
    }
    state = PyEval_SaveThread();
    return going_on;
  };
  bool finished;
  try {
    finished = work(Tick(tick));
  } catch (...) {
    PyEval_RestoreThread(state);
    throw;
  }
  PyEval_RestoreThread(state);
  return finished;
}

template <class Body>
PyObject* guarded(const Body& body) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return PyErr_NoMemory();
  } catch (const std::exception& error) {
    if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, error.what());
    return nullptr;
  }
}

PyObject* py_kernels(PyObject*, PyObject*) {
  PyObject* names = PyList_New(0);
  for (const char* const* name = kernel_names(); names && *name; name++) {
    if (!kernel_works(*kernel_named(*name))) continue;
    PyObject* text = PyUnicode_FromString(*name);
    if (!text || PyList_Append(names, text)) Py_CLEAR(names);
    Py_XDECREF(text);
  }
  return names;
}

PyObject* py_encode(PyObject*, PyObject* args) {
  const char* kernel;
  PyObject *features, *codes, *center, *signs;
  double scale, extra;
  if (!PyArg_ParseTuple(args, "sOOdOdO", &kernel, &features, &center, &scale, &signs, &extra, &codes)) return nullptr;
  return guarded([&]() -> PyObject* {
    const Kernel& how = kernel_of(kernel);
    HeldFeatures from(features);
    HeldCodes to(codes, true);
    const Buffer middle(center, size_t(from.features.columns) * 8), flips(signs, size_t(to.words) * 16 / (how.bfloat16 ? 2 : 1));
    if (to.n != from.rows) throw std::runtime_error("as many codes as features were expected");
    for (int64_t r = 0; r < to.n; r++)
      if (to.codes.id[r] < 0 || to.codes.id[r] >= from.rows) throw std::runtime_error("an id is out of range");
    const Encoding encoding{middle.as<const double>(), scale, flips.as<const float>(), extra};
    unlocked(Py_None, [&](const Tick&) {
      encode(from.features, encoding, how, to.arrays());
      return true;
    });
    Py_RETURN_NONE;
  });
}

PyObject* py_encode_fine(PyObject*, PyObject* args) {
  PyObject *features, *codes, *center;
  double scale;
  if (!PyArg_ParseTuple(args, "OOdO", &features, &center, &scale, &codes)) return nullptr;
  return guarded([&]() -> PyObject* {
    HeldFeatures from(features);
    HeldFine to(codes, true);
    const Buffer middle(center, size_t(from.features.columns) * 8);
    if (to.n != from.rows || to.width < from.features.columns)
      throw std::runtime_error("as many codes as features were expected");
    unlocked(Py_None, [&](const Tick&) {
      encode_fine(from.features, middle.as<const double>(), scale, to.arrays());
      return true;
    });
    Py_RETURN_NONE;
  });
}

PyObject* py_nearest(PyObject*, PyObject* args) {
  const char* kernel;
  PyObject *query, *reference, *out, *report;
  double scale;
  long long k, own;  // what L fills
  if (!PyArg_ParseTuple(args, "sOOdLLOO", &kernel, &query, &reference, &scale, &k, &own, &out, &report)) return nullptr;
  return guarded([&]() -> PyObject* {
    const Kernel& how = kernel_of(kernel);
    const HeldSet x(query), y(reference);
    check(x.set, y.set);
    const Buffer distances(out, size_t(x.features.rows) * k * 8, true);
    std::optional<Work> work;
    if (!unlocked(report, [&](const Tick& tick) {
          work = nearest(x.set, y.set, how, scale, k, own, distances.as<double>(), tick);
          return work.has_value();
        }))
      return nullptr;
    const long long left = work->left, measured = work->measured;  // what L takes
    return Py_BuildValue("(LL)", left, measured);
  });
}

PyObject* py_near_pairs(PyObject*, PyObject* args) {
  const char* kernel;
  PyObject *query, *reference, *query_limits, *reference_limits, *inverses, *radii, *report;
  int skip_self;
  long long most, first_row, last_row, first_column, last_column;  // what L fills
  if (!PyArg_ParseTuple(args, "sO(LL)O(LL)OOOOpLO", &kernel, &query, &first_row, &last_row, &reference,
                        &first_column, &last_column, &query_limits, &reference_limits, &inverses, &radii, &skip_self,
                        &most, &report))
    return nullptr;
  return guarded([&]() -> PyObject* {
    const Kernel& how = kernel_of(kernel);
    const HeldSet x(query), y(reference);
    check(x.set, y.set);
    const Panels rows{first_row, last_row}, columns{first_column, last_column};
    check(rows, x.codes.n);
    check(columns, y.codes.n);
    const Buffer row_limits(query_limits, size_t(padded(x.codes.n)) * 4);
    const Buffer column_limits(reference_limits, size_t(padded(y.codes.n)) * 4);
    const Buffer balls(radii, size_t(y.features.rows) * 8);
    const int n_ratios = int(PyTuple_Size(inverses));
    if (n_ratios < 0 || n_ratios > MOST_RATIOS) throw std::runtime_error("too many sets of ratios");
    std::vector<Buffer> held;
    Limits limits{row_limits.as<const float>(), column_limits.as<const float>(), n_ratios, {}, balls.as<const double>()};
    for (int s = 0; s < n_ratios; s++) {
      held.emplace_back(item(inverses, s), size_t(padded(y.codes.n)) * 4);
      limits.inverse[s] = held.back().as<const float>();
    }
    std::vector<Pair> pairs;
    Outcome outcome = Outcome::stopped;
    if (!unlocked(report, [&](const Tick& tick) {
          outcome = near_pairs(x.set, rows, y.set, columns, how, limits, skip_self != 0, most, pairs, tick);
          return outcome != Outcome::stopped;
        }))
      return nullptr;
    if (outcome == Outcome::too_many) Py_RETURN_NONE;
    return PyBytes_FromStringAndSize(reinterpret_cast<const char*>(pairs.data()), Py_ssize_t(pairs.size() * sizeof(Pair)));
  });
}

PyObject* py_pair_distances(PyObject*, PyObject* args) {
  PyObject *rows, *row_index, *columns, *column_index, *out;
  long long n;  // what L fills
  if (!PyArg_ParseTuple(args, "OOOOLO", &rows, &row_index, &columns, &column_index, &n, &out)) return nullptr;
  return guarded([&]() -> PyObject* {
    const HeldFeatures x(rows), y(columns);
    const Buffer a(row_index, size_t(n) * 8), b(column_index, size_t(n) * 8), to(out, size_t(n) * 8, true);
    const auto i = a.as<const int64_t>(), j = b.as<const int64_t>();
    for (int64_t p = 0; p < n; p++)
      if (i[p] < 0 || i[p] >= x.rows || j[p] < 0 || j[p] >= y.rows) throw std::runtime_error("an index is out of range");
    for (int64_t p = 0; p < n; p++) to.as<double>()[p] = std::sqrt(squared_distance(x.features, i[p], y.features, j[p]));
    Py_RETURN_NONE;
  });
}

PyObject* py_rates(PyObject*, PyObject* args) {
  long long width;  // what L fills
  if (!PyArg_ParseTuple(args, "L", &width)) return nullptr;
  return guarded([&]() -> PyObject* {
    if (width <= 0 || width % 64) throw std::runtime_error("a width that is a multiple of 64 was expected");
    PyObject* rates = PyDict_New();
    const auto add = [rates](const std::string& name, double rate) {
      PyObject* number = PyFloat_FromDouble(rate);
      if (number) PyDict_SetItemString(rates, name.c_str(), number);
      Py_XDECREF(number);
    };
    for (const auto& [name, rate] : instruction_rates()) add(name, rate);
    for (const char* const* name = kernel_names(); rates && *name; name++) {
      const Kernel& kernel = *kernel_named(*name);
      add(std::string("tiles by ") + *name, tile_rate(kernel, width / (kernel.bfloat16 ? 2 : 4)));
      add(std::string("pairs by ") + *name, dots_rate(kernel, width));
    }
    return rates;
  });
}

PyMethodDef METHODS[] = {
    {"kernels", py_kernels, METH_NOARGS, "Names of the kernels that work on this CPU, best first."},
    {"encode", py_encode, METH_VARARGS, "encode(kernel, features, center, scale, signs, extra_error, codes)"},
    {"encode_fine", py_encode_fine, METH_VARARGS, "encode_fine(features, center, scale, fine codes)"},
    {"nearest", py_nearest, METH_VARARGS, "nearest(kernel, query, reference, scale, k, own, out, report)"},
    {"near_pairs", py_near_pairs, METH_VARARGS,
     "near_pairs(kernel, query, rows, reference, columns, query_limits, reference_limits, inverses, radii, skip_self, "
     "most, report): rows and columns are (first, last) panels; None where there are more than `most` pairs"},
    {"rates", py_rates, METH_VARARGS, "rates(width): 10^9 multiply-adds a CPU second, by instructions and kernels"},
    {"pair_distances", py_pair_distances, METH_VARARGS, "pair_distances(x, i, y, j, n, out)"},
    {nullptr, nullptr, 0, nullptr},
};

PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, "_native", "Screened exact k-NN sweeps; see native_engine.py.", -1,
                      METHODS, nullptr, nullptr, nullptr, nullptr};

}  // namespace

PyMODINIT_FUNC PyInit__native() { return PyModule_Create(&MODULE); }
