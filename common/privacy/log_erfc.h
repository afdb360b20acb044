#pragma once

namespace fedgraft {

// ln erfc(x) without underflow: erfc itself is 0 beyond x = 27.
double LogErfc(double x);

}  // namespace fedgraft
