package backplane

// Budgets is a backplane that adds up what users spend on all processes, in a token bucket for each user.
type Budgets interface {
	// Spend takes count tokens from the user's bucket, which is refilled at rate a second up to burst, whether they are there or
	// not. done is told how many are left, less than 0 if more was spent than there was; or an error that wraps ErrUnavailable, and
	// then they may have been taken, also twice. It returns at once; done is called once, must not block, and may be called before
	// Spend returns.
	Spend(user Target, count, rate, burst int, done func(left float64, err error))
}
