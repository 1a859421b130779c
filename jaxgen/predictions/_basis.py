"""Networks that read an event as it is, under a process that is diagonal in a basis of it."""


def in_basis(predict, basis):
    """predict(z, t) -> [*event] in coordinates of a basis, from a raw network view of the event.

    Args: predict(x, t) -> [*event], what it predicts being of any kind, in x's own coordinates;
        basis, an orthonormal `processes.diagonal.Basis`. z = basis.to(x): the network sees
        basis.back(z), so that it may be a convolution although the process blurs. For training
        wrap apply: lambda params, z, t: in_basis(partial(apply, params), basis)(z, t), on data
        basis.to(x0).
    Source: Hoogeboom and Salimans 2023, arXiv 2209.05557 (the network reads pixels).
    """

    def predict_coordinates(z, t, **cond):
        return basis.to(predict(basis.back(z), t, **cond))

    return predict_coordinates
