// The errors of files that raise_os_error throws, beside FileNotFoundError and PermissionError.
#pragma once

#include <fiber/exceptions.hpp>

namespace fiber {

/// EEXIST.
class FIBER_API FileExistsError : public OSError {
 public:
  using OSError::OSError;
  ~FileExistsError() override;
};

/// EISDIR.
class FIBER_API IsADirectoryError : public OSError {
 public:
  using OSError::OSError;
  ~IsADirectoryError() override;
};

/// ENOTDIR.
class FIBER_API NotADirectoryError : public OSError {
 public:
  using OSError::OSError;
  ~NotADirectoryError() override;
};

}  // namespace fiber
