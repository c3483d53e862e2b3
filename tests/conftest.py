"""Strict JAX for every test: 8 CPU devices, rank promotion raises."""

import os

os.environ["JAX_NUM_CPU_DEVICES"] = "8"
os.environ["JAX_PLATFORMS"] = os.environ.get("JAX_PLATFORMS", "cpu")
os.environ["MPLBACKEND"] = "Agg"

import jax

jax.config.update("jax_numpy_rank_promotion", "raise")
