#pragma once

// Tails of the distributions that the tests of this folder refer to. Accurate
// to about 1e-12 relative where the value is above 1e-300.

namespace fedgraft {

// P(N(0, 1) > z).
double NormalTail(double z);
// z with P(N(0, 1) <= z) = p; p of 0 and 1 gives -/+ 38, beyond which doubles
// cannot tell a tail from 0.
double NormalQuantile(double p);
// P(chi-square > x). REQUIRES: dof > 0, which need not be whole.
double ChiSquareTail(double x, double dof);
// P(Fisher's F > x). REQUIRES: both degrees of freedom above 0.
double FisherTail(double x, double dof, double rest_dof);
// P(Student's t <= x). REQUIRES: dof > 0.
double StudentCdf(double x, double dof);

// The normal deviate as unlikely as a test's p-value: large is suspicious.
double DeviateOfPValue(double p);

}  // namespace fedgraft
