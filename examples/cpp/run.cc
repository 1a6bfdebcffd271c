// Runs a library that `tcc --emit=tvm` wrote, without Python: needs libtvm_runtime and libtvm_ffi only.
//
//   run model.so output.bin input.bin:float32:1,1,8,8 [more inputs, in the order of model.so.json]
//
// Inputs are raw elements, row-major; the outputs are written one after another in the same way.

#include <tvm/ffi/container/array.h>
#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/dtype.h>
#include <tvm/ffi/extra/module.h>
#include <tvm/ffi/function.h>

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace ffi = tvm::ffi;

namespace {

constexpr int kPooledAllocator = 2;
constexpr size_t kAlignment = 64;  // what vector loads want

struct HostMemory {
  void AllocData(DLTensor* tensor) {
    const size_t bytes = (ffi::GetDataSize(*tensor) + kAlignment - 1) / kAlignment * kAlignment;
    tensor->data = std::aligned_alloc(kAlignment, bytes == 0 ? kAlignment : bytes);
  }
  void FreeData(DLTensor* tensor) { std::free(tensor->data); }
};

size_t Bytes(const ffi::Tensor& tensor) {
  return ffi::GetDataSize(static_cast<size_t>(tensor.numel()), tensor.dtype());
}

ffi::Tensor Read(const std::string& argument) {
  const size_t second = argument.rfind(':');
  const size_t first = argument.rfind(':', second - 1);
  if (first == std::string::npos) throw std::runtime_error(argument + " is not FILE:TYPE:SIZES");
  std::vector<int64_t> sizes;
  std::stringstream list(argument.substr(second + 1));
  for (std::string size; std::getline(list, size, ',');) sizes.push_back(std::stoll(size));
  const DLDataType dtype = ffi::StringToDLDataType(argument.substr(first + 1, second - first - 1));
  ffi::Tensor tensor = ffi::Tensor::FromNDAlloc(HostMemory(), ffi::Shape(sizes.begin(), sizes.end()), dtype,
                                                DLDevice{kDLCPU, 0});
  std::ifstream file(argument.substr(0, first), std::ios::binary);
  file.read(static_cast<char*>(tensor.data_ptr()), Bytes(tensor));
  if (!file || file.peek() != EOF) throw std::runtime_error(argument + ": the file has not that many bytes");
  return tensor;
}

void Write(std::ofstream& file, const ffi::Tensor& tensor) {
  file.write(static_cast<const char*>(tensor.data_ptr()), Bytes(tensor));
}

void Run(const std::vector<std::string>& arguments) {
  ffi::Module library = ffi::Module::LoadFromFile(arguments[0]);
  ffi::Module machine = library->GetFunction("vm_load_executable").value()().cast<ffi::Module>();
  machine->GetFunction("vm_initialization").value()(static_cast<int>(kDLCPU), 0, kPooledAllocator);
  std::vector<ffi::Any> inputs;
  for (size_t i = 2; i < arguments.size(); ++i) inputs.emplace_back(Read(arguments[i]));
  std::vector<ffi::AnyView> views(inputs.begin(), inputs.end());
  ffi::Any result;
  machine->GetFunction("main").value().CallPacked(views.data(), static_cast<int32_t>(views.size()), &result);
  std::ofstream file(arguments[1], std::ios::binary);
  if (auto one = result.try_cast<ffi::Tensor>()) {
    Write(file, *one);
  } else {
    for (const ffi::Tensor& tensor : result.cast<ffi::Array<ffi::Tensor>>()) Write(file, tensor);
  }
  if (!file) throw std::runtime_error("cannot write " + arguments[1]);
}

}  // namespace

int main(int count, char** values) {
  if (count < 4) {
    std::cerr << "usage: run MODEL.so OUTPUT.bin INPUT.bin:TYPE:SIZES...\n";
    return 2;
  }
  try {
    Run(std::vector<std::string>(values + 1, values + count));
  } catch (const std::exception& error) {
    std::cerr << "run: " << error.what() << "\n";
    return 1;
  }
  return 0;
}
